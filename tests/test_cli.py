"""The command ``kerasql``, as it is typed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from benchmarks.ages import HISTORY
from click.testing import CliRunner, Result
from PIL import Image as Pillow

from kerasql.cli import main, preprocess_option
from kerasql.registry.access import Access
from kerasql.registry.preprocess import Image, Tensor
from kerasql.registry.store import connect

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a registry of this test's own."""
    monkeypatch.setenv("KERASQL_DATABASE", f"sqlite:///{tmp_path}/models.db")
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Labels as Teachable Machine writes them, after a byte-order mark."""
    file = tmp_path / "labels.txt"
    file.write_text("\ufeff0 Red\n1 Green\n2 Deep Blue\n", encoding="utf-8")
    return file


def test_register_show_alias_delete(run: Run, networks: Path, classes: Path) -> None:
    image = "image:size=8x8,scale=unit"
    first = run(
        *("register", "colors", networks / "image.h5", "--preprocess", image),
        *("--labels", classes, "--description", "what color", "--metric", "accuracy=0.9"),
    )
    again = run(
        *("register", "colors", networks / "image.h5", "--preprocess", image, "--labels", classes)
    )
    second = run("register", "Colors", networks / "image.keras", "--tag", "new", "--json")
    assert "registered colors@1, alias production on the engine openvino" in first.stdout
    assert "colors@1 holds exactly this already" in again.stdout
    assert json.loads(second.stdout)["ref"] == "colors@2"
    shown = run("show", "colors").stdout
    for part in ("colors@1", "what color", "accuracy 0.9", "'Deep Blue'", "colors_scores(…)"):
        assert part in shown
    assert "colors_v2(…)" in run("show", "colors@2").stdout
    assert "colors@production is colors@2 now" in run("alias", "colors", 2, "production").stdout
    refused = run("delete", "colors@2")
    assert (refused.exit_code, "'production'" in refused.stderr) == (2, True)
    assert "colors@1 is deleted" in run("delete", "colors@1").stdout
    (model,) = json.loads(run("models", "--json").stdout)
    assert (model["name"], model["aliases"], model["versions"]) == ("colors", {"production": 2}, 1)
    assert "colors" in run("models").stdout
    assert "is removed" in run("unalias", "colors", "production").stdout


def test_datasets_are_added_listed_and_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    added = run(
        *("dataset", "add", "t", tmp_path / "t.csv", "--format", "csv", "--option", "header=true")
    )
    assert added.exit_code == 0
    assert "header=true" in run("dataset", "list").stdout
    (listed,) = json.loads(run("dataset", "list", "--json").stdout)
    assert (listed["name"], listed["options"]) == ("t", {"header": "true"})
    assert "forgotten" in run("dataset", "remove", "t").stdout
    assert "no datasets yet" in run("dataset", "list").stderr


def test_the_database_is_upgraded_and_checked(run: Run, networks: Path) -> None:
    assert "up to date" in run("db", "upgrade").stdout
    run("register", "price", networks / "tabular.h5")
    state = json.loads(run("db", "check", "--json").stdout)
    assert (state["models"], state["versions"], state["broken"]) == (1, 1, [])
    assert "0 files deleted" in run("db", "collect").stdout


def test_queries_print_tables_csv_json_and_parquet(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes of their own, as each starts and stops its Spark."""
    monkeypatch.setenv("COLUMNS", "120")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        pixels = np.full((8, 8, 3), number, np.uint8)
        Pillow.fromarray(pixels).save(pictures / f"{number}.png")
    url = f"sqlite:///{tmp_path}/models.db"
    with connect(url) as registry:
        registry.register("colors", networks / "image.h5", preprocess=Image(), labels=list("rgb"))
        registry.add_dataset("images", pictures)
        access = Access(registry)
        access.add_user("ann")
        access.grant("select", "images", to="user:ann", by=None)

    def query(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kerasql", "--database", url, "query", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    (tmp_path / "q.sql").write_text(
        "-- which color is each?\nSELECT image, colors(image) AS color, NULL AS nothing\n"
        "FROM images\nORDER BY path;\n"
    )
    table = query("--file", "q.sql", "--limit", "2")
    assert table.returncode == 0, table.stderr
    assert "only the first 2 rows are shown" in table.stderr
    assert "bytes>" in table.stdout
    assert "NULL" in table.stdout
    printed = query("--csv", "--stats", "SELECT colors(image) AS color, width FROM images")
    assert "colors@1: 3 rows, 0 known, 3 predicted in " in printed.stderr
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [(row["color"] in "rgb", row["width"]) for row in rows] == [(True, "8")] * 3
    written = query("SELECT colors_scores(image) AS s FROM images", "--parquet", "rows.parquet")
    assert "3 rows in rows.parquet" in written.stdout
    table_of = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    np.testing.assert_allclose([sum(scores) for scores in table_of["s"].to_pylist()], 1, rtol=1e-5)
    theirs = query("--as", "ann", "--csv", "SELECT count(*) AS n FROM images")
    assert theirs.stdout.split() == ["n", "3"]
    refused = query("--as", "ann", "SELECT colors(image) FROM images")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no function 'colors'; there is no model for you" in refused.stderr
    nobody = query("--as", "eve", "SELECT 1")
    assert "no user 'eve'; there is 'ann'" in nobody.stderr
    assert "Spark" not in nobody.stderr
    as_json = json.loads(query("--json", "SELECT 1 AS a, 2 AS a").stdout)
    assert as_json == {"columns": ["a", "a"], "rows": [[1, 2]], "truncated": False}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("show nobody", "no model 'nobody'"),
        ("show price@9", "no version 'price@9'"),
        ("show price@nobody", "'price@nobody'"),
        ("show price@@", "write name, name@3 or name@production"),
        ("delete price", "delete price@<number>"),
        ("delete price@1", "'production'"),
        ("delete nobody@1", "no model 'nobody'"),
        ("alias price 7 production", "no version 'price@7'"),
        ("alias price 1 v2", "'v2' cannot be used as"),
        ("alias price 1 scores", "'scores' cannot be"),
        ("unalias price nobody", "'price@nobody'"),
        ("register count {tabular}", "Spark's built-in function 'count'"),
        ("register try_it {tabular}", "'try_it' cannot be used as model name"),
        ("register price_v3 {tabular}", "'price_v3' cannot be used as model name"),
        ("register 9lives {tabular}", "'9lives' cannot be"),
        ("register m none.h5", "there is no such file"),
        (
            "register m {weights}",
            "only.weights.h5 cannot be registered: it holds weights only",
        ),
        ("register m {html}", "it is an HTML page"),
        ("register m {empty}", "it is empty"),
        ("register m {lambda}", "its function is bytecode, which is never run"),
        ("register m {image} --label a --label b", "has 3 scores; 2 class names were given"),
        ("register m {image} --labels none.txt", "none.txt"),
        ("register m {image} --label a --labels none.txt", "not both"),
        ("register m {image} --output label", "needs class names"),
        ("register m {image} --output picture", "no output kind 'picture'"),
        ("register m {image} --engine caffe", "no engine 'caffe'; there is 'openvino' and 'keras'"),
        ("register m {image} --preprocess image:size=9", "size"),
        ("register m {image} --preprocess image:size=9x9", "9"),
        ("register m {image} --preprocess image:shape=9x9", "shape"),
        ("register m {image} --preprocess nonsense", "names no function"),
        ("register m {image} --preprocess none.py:f", "none.py"),
        ("register m {image} --preprocess other=image:size=8x8", "no input 'other'"),
        ("register m {image} --columns a,b", "one input of one dimension"),
        ("register m {tabular} --columns a,b", "takes 4 numbers; 2 column names"),
        ("register m {tabular} --columns a,b,c,A", "two columns have the same name"),
        ("register m {tabular} --metric accuracy", "write --metric accuracy=0.98"),
        ("register m {tabular} --threshold 2", "give 0 to 1"),
        ("register m {pair} --label a", "2 outputs; give class names by output name"),
        ("register m {pair} --preprocess image:", "2 inputs; give a preprocessor for each"),
        ("dataset add d /no/such/folder", "/no/such/folder"),
        ("dataset add d {images} --option header", "write --option header=true"),
        ("dataset add 9d {images}", "'9d' cannot be used as dataset name"),
        ("dataset remove nobody", "no dataset 'nobody'"),
        ("query", "give one query"),
        ("query --file none.sql", "none.sql cannot be read"),
        ("query --limit -1 SELECT", "-1 is not in the range x>=0"),
        ("query --limit many SELECT", "'many' is not a valid integer range"),
        ("--database nonsense models", "no database URL; write sqlite:///"),
        ("--database mysql://localhost/x models", "mysql"),
        ("--database postgresql://me:hush@127.0.0.1:1/x models", "cannot be used"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    run: Run, networks: Path, tmp_path: Path, arguments: str, sentence: str
) -> None:
    files = {
        **{name: networks / f"{name}.h5" for name in ("image", "tabular", "pair")},
        "lambda": networks / "with_lambda.h5",
        "weights": networks / "only.weights.h5",
        "html": tmp_path / "page.h5",
        "empty": tmp_path / "empty.h5",
        "images": tmp_path,
    }
    files["html"].write_text("<!DOCTYPE html><p>Sign in")
    files["empty"].touch()
    url = f"sqlite:///{tmp_path}/models.db"
    shutil.copy(registered(networks, tmp_path), tmp_path / "models.db")
    result = run(*(word.format(**files) for word in arguments.split()))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    *progress, said = result.stderr.strip().splitlines()
    assert said.startswith("Error: ")
    assert sentence in said
    assert "hush" not in said
    assert not any("Error" in line for line in progress)
    with connect(url) as registry:
        assert [(m.name, m.versions, m.aliases) for m in registry.models()] == [
            ("price", 1, {"production": 1})
        ]
        assert registry.datasets() == []


def registered(networks: Path, tmp_path: Path) -> Path:
    """A registry with the model ``price``, made once for all these tests."""
    made = networks / "price.db"
    if not made.exists():
        with connect(f"sqlite:///{tmp_path}/made.db") as registry:
            registry.register("price", networks / "tabular.h5")
        # Closed, SQLite has put everything into the one file.
        shutil.copy(tmp_path / "made.db", made)
    return made


def test_a_user_id_without_a_name_owns_what_it_registers(
    run: Run, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # raises KeyError, as for such a user id
    registered = run("register", "price", networks / "tabular.h5", "--json")
    assert registered.exit_code == 0, registered.stderr
    assert json.loads(registered.stdout)["owner"] == str(os.getuid())
    assert run("alias", "price", 1, "best").exit_code == 0
    assert run("dataset", "add", "t", networks, "--format", "csv").exit_code == 0


def test_untrusted_source_needs_its_grant(run: Run, networks: Path, tmp_path: Path) -> None:
    source = tmp_path / "prep.py"
    source.write_text("def scaled(value):\n    return [v * 2 for v in value]\n")
    command = ("register", "m", networks / "vector.h5", "--preprocess", f"{source}:scaled")
    refused = run(*command)
    assert (refused.exit_code, "--trust-code" in refused.stderr) == (2, True)
    assert run(*command, "--trust-code").exit_code == 0
    assert "scaled" in run("show", "m").stdout


def test_source_of_a_model_is_given_asked_for_and_shown(
    run: Run, networks: Path, tmp_path: Path
) -> None:
    source = tmp_path / "layers.py"
    source.write_text("def twice(x):\n    return x * 2\n")
    file = networks / "with_lambda.h5"
    refused = run("check", file)
    assert (refused.exit_code, "its function is bytecode" in refused.stdout) == (1, True)
    known = run("check", file, "--code", source)
    assert (known.exit_code, "can be registered  yes" in known.stdout) == (0, True)
    refused = run("register", "m", file, "--code", source)
    assert (refused.exit_code, "--trust-code" in refused.stderr) == (2, True)
    done = run("register", "m", file, "--code", source, "--trust-code")
    assert done.exit_code == 0, done.stderr
    assert "31 bytes of Python: kerasql show m@1 --code" in run("show", "m").stdout
    assert run("show", "m@1", "--code").stdout == source.read_text()
    run("register", "price", networks / "tabular.h5")
    without = run("show", "price", "--code")
    assert (without.stdout, "it carries no code" in without.stderr) == ("", True)


def test_weights_are_given_with_an_architecture_or_with_source(
    run: Run, networks: Path, tmp_path: Path
) -> None:
    weights, architecture = networks / "only.weights.h5", networks / "only.json"
    first = run("register", "m", "--weights", weights, "--architecture", architecture)
    assert "registered m@1" in first.stdout, first.stderr
    source = tmp_path / "build.py"
    source.write_text(
        "import keras\n\n\ndef build():\n    return keras.Sequential([keras.Input((4,)), "
        "keras.layers.Dense(5, activation='tanh'), keras.layers.Dense(1)])\n"
    )
    second = run("register", "m", "--weights", weights, "--code", source, "--trust-code")
    assert "registered m@2" in second.stdout, second.stderr


def test_what_is_rewritten_for_keras_3_is_said(run: Run, tmp_path: Path) -> None:
    """Before, when it is checked; when it is registered; and afterwards."""
    with zipfile.ZipFile(HISTORY / "keras-2.2.4-tensorflow.zip") as archive:
        file = Path(archive.extract("lstm.h5", tmp_path))
    sentence = "`hard_sigmoid` kept as Keras 2 defined it"
    assert f"will be rewritten  {sentence}" in run("check", file).stdout
    registered = run("register", "old", file)
    assert "registered old@1" in registered.stdout
    assert f"rewritten for Keras 3: {sentence} (lstm_1, lstm_2)" in registered.stderr
    (shown,) = [line for line in run("show", "old").stdout.splitlines() if sentence in line]
    assert shown.split() == f"rewritten for Keras 3 {sentence} (lstm_1, lstm_2)".split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image:size=224x96,scale=tf", Image(size=(224, 96), scale="tf")),
        ("image:", Image()),
        ("image:exif=true,like=load_img", Image(exif=True, like="load_img")),
        ("tensor:scale=0.5", Tensor(scale=0.5)),
        ('{"kind": "tensor", "mean": [1, 2], "std": [3, 4]}', Tensor(mean=(1, 2), std=(3, 4))),
        ("prep.py:function", "prep.py:function"),
    ],
)
def test_preprocessors_are_spelled_on_the_command_line(text: str, expected: object) -> None:
    assert preprocess_option(text) == expected


def test_every_command_has_help(run: Run) -> None:
    commands = [[], ["register"], ["dataset"], ["dataset", "add"], ["query"], ["db"], ["demo"]]
    for command in commands:
        result = run(*command, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.stdout
    assert "KERASQL_READ_PATHS" in run("--help").stdout


def test_the_demo_runs_and_leaves_other_folders_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kerasql", "demo", "--folder", "made"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("accuracy", "NULL", "digits(image)", "What to try next"):
        assert word in done.stdout
    total = next(line for line in done.stdout.splitlines() if line.startswith("│ all "))
    assert float(total.split("│")[3]) > 0.9
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    refused = subprocess.run(
        [*command[:-1], "mine"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "holds something else" in refused.stderr
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
