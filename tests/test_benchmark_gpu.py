"""The benchmark on a GPU runs on a CPU as well, where it promises nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.left_behind import left_behind


def test_the_benchmark_runs_without_a_gpu(tmp_path: Path) -> None:
    small = "--network tiny --size 32 --cores 2 --pictures 4 --rows 48 --rounds 1 --seconds 0.1"
    sizes = f"--batch 8 --batches 8 --slice 8 --device cpu --json {tmp_path}/figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *small.split(), *sizes.split()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0
    assert "no GPU; Keras on tensorflow" in " ".join(done.stdout.split())
    figures = {f["what"]: f for f in json.loads((tmp_path / "figures.json").read_text())["figures"]}
    assert {"whole, f32", "whole, bf16", "decoding alone, 2 processes"} <= set(figures)
    assert all(figure["value"] > 0 and figure["kept"] for figure in figures.values())
    assert left_behind() == []
