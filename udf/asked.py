"""What a plan asks of a model server: which network, and what its answers depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import IO, Any

from kerasql.registry.preprocess import Image
from kerasql.udf.files import Files
from kerasql.udf.plan import Plan
from kerasql.udf.server.client import Asked


def network(plan: Plan, files: Files, given: Sequence[str] = ()) -> Asked:
    """The plan's network for prepared rows of the given dtypes (of an input each).

    By default those that its preprocessors make of ordinary values: a picture of 16 bits is float32
    where others are uint8, and another network takes it.
    """
    about = json.loads(_about(plan, tuple(given)))

    def opened(sha256: str) -> IO[bytes]:
        return files.path(sha256).open("rb")

    return Asked(about, opened)


def scope(plan: Plan) -> str:
    """What an answer depends on beside the row's value, as 32 hexadecimal digits."""
    about = json.loads(_about(plan, ()))
    preprocess = [preprocessor.to_json() for preprocessor in plan.preprocess]
    return _digest([about["key"], preprocess, len(plan.columns), plan.max_pixels])


@lru_cache(maxsize=64)
def _about(plan: Plan, given: tuple[str, ...]) -> str:
    finish = [
        preprocessor.finishing(spec, given[n] if given else preprocessor.usual_dtype).to_json()
        if isinstance(preprocessor, Image)
        else None
        for n, (preprocessor, spec) in enumerate(
            zip(plan.preprocess, plan.signature.inputs, strict=True)
        )
    ]
    about: dict[str, Any] = {
        "engine": plan.engine,
        "precision": plan.precision,
        "artifacts": dict(plan.artifacts),
        "finish": finish,
        "numeric": [spec.dtype != "string" for spec in plan.signature.outputs],
        "rows": plan.batch_rows,
    }
    # Nothing of the version's name: two versions of the same bytes are one network.
    more = {"ref": plan.ref, "allowed": plan.allowed, "bytes": plan.network_bytes}
    return json.dumps({"key": _digest(about), **about, **more})


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
