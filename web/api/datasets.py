"""Datasets: what analysts put after FROM."""

from __future__ import annotations

from datetime import datetime

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from kerasql.registry import version as facts
from kerasql.registry.access import User
from kerasql.registry.errors import NameTaken, RoleMissing
from kerasql.registry.names import dataset_name
from kerasql.web.allowed import adder, may, record
from kerasql.web.api.problem import REFUSALS, Problem
from kerasql.web.api.sent import Bound, Sent, sent
from kerasql.web.parts import parts
from kerasql.web.places import check_place
from kerasql.web.who import asker

datasets = APIBlueprint(
    "datasets",
    __name__,
    url_prefix="/api/v1",
    abp_tags=[Tag(name="datasets", description="What analysts put after FROM.")],
    abp_security=[{"token": []}, {"browser": []}],
    abp_responses=REFUSALS,
)


class Dataset(Sent):
    """A folder of pictures, a table of files, or what else Spark reads."""

    name: str
    format: str
    path: str
    options: dict[str, str]
    description: str
    owner: str | None
    created_at: datetime


class Datasets(BaseModel):
    """Datasets by name."""

    datasets: list[Dataset]


class Named(Bound):
    """A dataset."""

    name: str = Field(max_length=64)


class NewDataset(Bound):
    """Where a dataset is and how Spark reads it."""

    path: str = Field("", max_length=4096, description="An absolute path or a URL of the server's.")
    format: str = Field("images", max_length=200, description="images, parquet, csv, json …")
    options: dict[str, str] = Field({}, description="Spark's own (admins).")
    description: str = Field("", max_length=10_000)
    replace: bool = Field(False, description="Replace a dataset of that name (owner and admins).")


@datasets.get("/datasets", responses={200: Datasets})
def list_datasets() -> Response:
    """The datasets that I may read"""
    mine = parts().access.readable(asker())
    found = [Dataset.of(one) for one in parts().registry.datasets() if one.name in mine]
    return sent(Datasets(datasets=found))


@datasets.get("/datasets/<name>", responses={200: Dataset, 404: Problem})
def get_dataset(path: Named) -> Response:
    """A dataset"""
    may("select", path.name)
    return sent(Dataset.of(parts().registry.dataset(path.name)))


@datasets.put(
    "/datasets/<name>",
    responses={201: Dataset, 400: Problem, 404: Problem, 409: Problem},
)
def add_dataset(path: Named, body: NewDataset) -> Response:
    """Add a dataset, or replace one of mine"""
    user, name = adder("add datasets"), dataset_name(path.name)
    check_place(user, body.path, format=body.format, options=body.options)
    refuse_others(user, name, replace=body.replace)
    added = parts().registry.add_dataset(
        name,
        body.path,
        format=body.format,
        options=body.options,
        description=body.description,
        owner=user.name,
        replace=body.replace,
    )
    record(user, "dataset.add", name, {"path": added.path, "format": added.format})
    return sent(Dataset.of(added), 201)


@datasets.delete("/datasets/<name>", responses={204: None, 404: Problem})
def remove_dataset(path: Named) -> Response:
    """Forget a dataset of mine; its files stay where they are"""
    user = may("select", path.name)
    found = parts().registry.dataset(path.name)
    if not owns(user, found):
        raise RoleMissing(user.name, f"remove {found.name!r}", "its owner and admins")
    parts().registry.remove_dataset(found.name)
    record(user, "dataset.remove", found.name)
    return Response(status=204)


def refuse_others(user: User, name: str, *, replace: bool) -> None:
    """Raise where somebody else's dataset has that name; one that is not seen is not shown."""
    found = next((one for one in parts().registry.datasets() if one.name == name), None)
    if found is None or owns(user, found):
        return
    if not parts().access.may(user, "select", name):
        raise NameTaken(name, "dataset", "one that you may not read")
    if replace:
        raise RoleMissing(user.name, f"replace {name!r}", "its owner and admins")


def owns(user: User, dataset: facts.Dataset) -> bool:
    """Whether a user may change a dataset."""
    return user.role == "admin" or dataset.owner == user.name
