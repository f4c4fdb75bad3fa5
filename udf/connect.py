"""Deploying into a Spark Connect session, which has no Java side to call back from.

A Connect server ships every file of a session to its executors and analyses on its own, so here
functions are registered once with what their names mean now, and their artifacts sent at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidInput
from kerasql.registry.store import Registry
from kerasql.registry.version import Version
from kerasql.udf.files import SessionFiles
from kerasql.udf.functions import arrow_function
from kerasql.udf.planning import plan_of
from kerasql.udf.predict import predict


def deploy_to_connect(
    spark: SparkSession, registry: Registry, functions: Mapping[str, tuple[str, str]]
) -> None:
    """Register every function with its version of this moment; send its artifacts."""
    sent: set[str] = set()
    for name, (ref, variant) in functions.items():
        version = registry.get(ref)
        plan = plan_of(spark, version, variant, scalar=True)
        send(spark, registry, version, plan.shipped, sent)
        function = arrow_function(
            spark, partial(predict, plan, SessionFiles(), None), returns=plan.returns, name=name
        )
        spark.udf.register(name, function)


def send(
    spark: Any, registry: Registry, version: Version, artifacts: Mapping[str, str], sent: set[str]
) -> None:
    """Add artifacts to the session's files, each once."""
    with tempfile.TemporaryDirectory(prefix="kerasql-") as folder:
        for role, sha256 in artifacts.items():
            if sha256 not in sent:
                with Path(folder, sha256).open("wb") as file:
                    registry.copy_artifact(version, role, file)
                spark.addArtifacts(file.name, file=True)
                sent.add(sha256)


def named_refs(refs: Iterable[str] | None) -> Iterable[str]:
    """The refs, which a Connect session must name."""
    if refs is None:
        raise InvalidInput(
            "a Spark Connect session sends every deployed artifact to every executor; "
            "name the models it needs: deploy(spark, registry, refs=['flowers'])"
        )
    return refs
