"""Register a Keras model once; everyone calls it by name in Spark SQL.

registry = kerasql.connect("sqlite:///models.db")
registry.register("flowers", "flowers.h5",
preprocess=kerasql.Image(size=(224, 224), scale="tf"),
labels=["daisy", "tulip"])
kerasql.deploy(spark, registry)
spark.sql("SELECT flowers(image) AS label, count(*) FROM images GROUP BY 1").show()
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasql.registry.errors import KerasqlError as KerasqlError
    from kerasql.registry.preprocess import Code as Code
    from kerasql.registry.preprocess import Image as Image
    from kerasql.registry.preprocess import Tensor as Tensor
    from kerasql.registry.preprocess import Text as Text
    from kerasql.registry.store import Registry as Registry
    from kerasql.registry.store import connect as connect
    from kerasql.registry.version import Version as Version
    from kerasql.udf.deploy import Deployment as Deployment
    from kerasql.udf.deploy import deploy as deploy
    from kerasql.udf.fence.check import Fence as Fence
    from kerasql.udf.query import Result as Result
    from kerasql.udf.query import query as query

PUBLIC = {
    "Code": "registry.preprocess",
    "Deployment": "udf.deploy",
    "Fence": "udf.fence.check",
    "Image": "registry.preprocess",
    "KerasqlError": "registry.errors",
    "Registry": "registry.store",
    "Result": "udf.query",
    "Tensor": "registry.preprocess",
    "Text": "registry.preprocess",
    "Version": "registry.version",
    "connect": "registry.store",
    "deploy": "udf.deploy",
    "query": "udf.query",
}
"""Public names and the modules they come from, imported when first asked for."""

__all__ = sorted(PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        try:
            return version("kerasql")
        except PackageNotFoundError:
            return "0.0.0"
    if name not in PUBLIC:
        raise AttributeError(f"module 'kerasql' has no attribute {name!r}")
    return getattr(import_module(f"kerasql.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
