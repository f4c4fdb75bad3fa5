"""Models of MLflow: what it says of them, and of what it keeps for them the Keras file alone.

Beside that file MLflow keeps pickles, environments and code. They are never fetched, and
MLflow's own loaders, which run them, are never called.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import yaml
from requests.exceptions import SSLError

from kerasql.registry.errors import (
    InvalidFile,
    InvalidInput,
    InvalidName,
    KerasqlError,
    NotFound,
    RefusedFile,
    RegistryUnavailable,
    spelled,
)
from kerasql.registry.examine import columns_of, private_folder
from kerasql.registry.h5.apart import inspect_apart
from kerasql.registry.h5.construct import Progress
from kerasql.registry.h5.shown import shown
from kerasql.registry.signature import Signature, TensorSpec
from kerasql.registry.store import Registry
from kerasql.registry.version import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

MLMODEL = "MLmodel"
MLMODEL_BYTES = 2**20
SUFFIXES = (".keras", ".h5", ".hdf5")
CODE = ("custom_objects.cloudpickle", "code")
NUMBERS = {"integer", "long", "float", "double"}
NOT_THERE = "RESOURCE_DOES_NOT_EXIST"

BY_ALIAS = re.compile(r"models:/([^/]+)@([^/@]+)")
BY_NUMBER = re.compile(r"models:/([^/]+)/([0-9]+)")
BY_ID = re.compile(r"models:/(m-[^/@]+)")
BY_RUN = re.compile(r"runs:/([^/]+)/(.+)")

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Seconds until it gives up on a server that is away, not minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""What MLflow's client is told where the user has told it nothing."""


@dataclass(frozen=True)
class Source:
    """A model in MLflow: the URL of its folder, and what MLflow says of it.

    ref names it for ever: ``flowers/3``, ``m-<id>`` or ``<run id>/model``. name is None where it
    is not registered.
    """

    ref: str
    location: str
    name: str | None = None
    run_id: str | None = None
    description: str = ""
    own_tags: tuple[str, ...] = ()
    metrics: Mapping[str, float] | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """Where it comes from, then the tags it has in MLflow."""
        run = (f"mlflow-run:{self.run_id}",) if self.run_id else ()
        return (f"mlflow:{self.ref}", *run, *self.own_tags)


def import_mlflow(
    registry: Registry,
    uri: str,
    *,
    name: str | None = None,
    tracking_uri: str | None = None,
    columns: Sequence[str] | None = None,
    description: str = "",
    tags: Sequence[str] = (),
    metrics: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> Version:
    """Register a Keras model of MLflow as the next version of a model.

    uri is ``models:/flowers@champion``, ``models:/flowers/3``, ``models:/m-<id>`` or
    ``runs:/<run id>/model``. name is by default the one it is registered under in MLflow,
    tracking_uri what MLflow itself takes. given is what ``Registry.register`` takes beside the
    file: preprocess, labels, output … Its description, tags and finite metrics come along, and
    columns where its signature names them; its pickled custom objects do not: give code.

    >>> import_mlflow(registry, "models:/flowers@champion", labels=["daisy", "tulip"]).ref
    'flowers@1'

    Raises what ``Registry.register`` raises, NotFound where MLflow has no such model, and
    RegistryUnavailable where MLflow does not answer.
    """
    step = progress or (lambda step: None)
    with private_folder() as folder:
        with answering(tracking_uri) as client:
            step("asking MLflow")
            source = source_of(client, uri)
            name = free_name(registry, name, source, uri)
            fetched = fetch(client, source, uri, folder, step)
        try:
            return registry.register(
                name,
                fetched.file,
                columns=columns or fetched.columns,
                description=description or source.description,
                tags=(*source.tags, *tags),
                metrics={**(source.metrics or {}), **(metrics or {})},
                progress=progress,
                **given,
            )
        except RefusedFile as error:
            if not fetched.left:
                raise
            left = f"what MLflow keeps beside it ({spelled(fetched.left)}) is never run"
            raise RefusedFile(error.args[0], f"{error.args[1]}; {left}") from error


def free_name(registry: Registry, name: str | None, source: Source, uri: str) -> str:
    """The model's name in the registry, checked before anything is fetched for it."""
    chosen = name or source.name
    if not chosen:
        raise InvalidInput(f"{uri} has no registered name in MLflow; give one: name= (--name)")
    try:
        registry.check_name(chosen)
    except InvalidName as error:
        _, kind, wrong = error.args
        raise InvalidName(chosen, kind, f"{wrong}; give another: name= (--name)") from error
    return chosen


@contextmanager
def answering(tracking_uri: str | None) -> Iterator[MlflowClient]:
    """MLflow's client; what goes wrong between it and its server is one sentence."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise InvalidInput(
            'this needs MLflow\'s client; install it: pip install "kerasql[mlflow]"'
        ) from error
    if tracking_uri is None and not mlflow.is_tracking_uri_set():
        raise InvalidInput("which MLflow? give --tracking-uri URL, or set MLFLOW_TRACKING_URI")
    place = tracking_uri or mlflow.get_tracking_uri()
    public = without_password(place)
    try:
        require_there(place)
        yield mlflow.MlflowClient(place)
    except KerasqlError:
        raise
    except Exception as error:  # as many kinds as there are places where MLflow keeps files
        why = reason(error).replace(place.rstrip("/"), public)
        raise RegistryUnavailable(f"{public} (MLflow)", why) from error


def reason(error: Exception) -> str:
    """Why MLflow cannot be asked."""
    cause = error.__context__
    if isinstance(cause, requests.ConnectionError) and not isinstance(cause, SSLError):
        return "it does not answer; is it running, and is that its address?"
    return shown(str(error).partition("\n")[0], 300)


def without_password(url: str) -> str:
    """The URL as an error shows it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else url


def require_there(tracking_uri: str) -> None:
    """Refuse a SQLite file that is not there: MLflow would make it."""
    file = tracking_uri.removeprefix("sqlite:///")
    if file != tracking_uri and not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}; give the address that MLflow is used at")


def source_of(client: MlflowClient, uri: str) -> Source:
    """The model that the URI names, by the registry, by its id or by its run."""
    if by := BY_ALIAS.fullmatch(uri):
        model, alias = registered(client, by[1]), by[2]
        if alias not in model.aliases:
            raise NotFound(
                f"MLflow alias of {model.name}",
                alias,
                sorted(model.aliases),
                f"it has none; name a version: models:/{model.name}/1",
            )
        return version_source(client, model, str(model.aliases[alias]))
    if by := BY_NUMBER.fullmatch(uri):
        return version_source(client, registered(client, by[1]), by[2])
    if by := BY_ID.fullmatch(uri):
        return logged_source(client, by[1])
    if by := BY_RUN.fullmatch(uri):
        return run_source(client, by[1], by[2].strip("/"))
    raise InvalidInput(
        f"{uri!r} names no model of MLflow; write models:/name@alias, models:/name/3, "
        "models:/m-<id> or runs:/<run id>/<path>"
    )


@contextmanager
def known(kind: str, asked: str, exist: Callable[[], Collection[str]], hint: str) -> Iterator[None]:
    """Says what exists where MLflow has not what is asked for."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != NOT_THERE:
            raise
        raise NotFound(kind, asked, exist(), hint) from error


def registered(client: MlflowClient, name: str) -> RegisteredModel:
    """A model of MLflow's registry."""

    def names() -> list[str]:
        return sorted(model.name for model in client.search_registered_models())

    with known("MLflow model", name, names, "none is registered; name a run's: runs:/…"):
        return client.get_registered_model(name)


def version_source(client: MlflowClient, model: RegisteredModel, number: str) -> Source:
    """A numbered version of a registered model."""

    def numbers() -> list[str]:
        quote = '"' if "'" in model.name else "'"
        found = client.search_model_versions(f"name={quote}{model.name}{quote}")
        return [str(version) for version in sorted(int(one.version) for one in found)]

    with known(f"MLflow version of {model.name}", number, numbers, "it has none"):
        version = client.get_model_version(model.name, number)
    return Source(
        ref=f"{model.name}/{number}",
        location=client.get_model_version_download_uri(model.name, number),
        name=model.name,
        run_id=version.run_id or None,
        description=version.description or model.description or "",
        own_tags=own_tags(version.tags),
        metrics=metrics_of(client, version.run_id),
    )


def logged_source(client: MlflowClient, model_id: str) -> Source:
    """A logged model of MLflow 3, by its id."""
    with known("logged MLflow model", model_id, list, "copy its id from its page there"):
        model = client.get_logged_model(model_id)
    own = {metric.key: metric.value for metric in model.metrics or []}
    return Source(
        ref=model_id,
        location=model.artifact_location,
        run_id=model.source_run_id or None,
        own_tags=own_tags(model.tags),
        metrics={**metrics_of(client, model.source_run_id), **finite(own)},
    )


def run_source(client: MlflowClient, run_id: str, path: str) -> Source:
    """A model that a run logged: under its name (MLflow 3), or among the run's files."""
    from mlflow.utils.uri import append_to_uri_path

    with known("MLflow run", run_id, list, "copy its id from its page there"):
        run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in outputs]
    models.sort(key=lambda model: model.creation_timestamp)
    locations = {model.name: model.artifact_location for model in models}
    if path not in locations:
        if f"{path}/{MLMODEL}" not in {one.path for one in client.list_artifacts(run_id, path)}:
            raise NotFound(
                f"model of the MLflow run {run_id}",
                path,
                sorted(locations),
                "look at the run's page there for what it logged",
            )
        locations[path] = append_to_uri_path(run.info.artifact_uri, path)
    return Source(
        ref=f"{run_id}/{path}",
        location=locations[path],
        run_id=run_id,
        description=run.data.tags.get("mlflow.note.content", ""),
        own_tags=own_tags(run.data.tags),
        metrics=finite(run.data.metrics),
    )


def own_tags(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The user's tags, as ``stage: test``; those of MLflow itself are left out."""
    own = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
    return tuple(f"{name}: {value}" if value else name for name, value in sorted(own.items()))


def metrics_of(client: MlflowClient, run_id: str | None) -> dict[str, float]:
    """The last value of each metric of a run; none where the run is gone."""
    with suppress(NotFound), known("MLflow run", str(run_id), list, "it is gone"):
        return finite(client.get_run(run_id).data.metrics) if run_id else {}
    return {}


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that the registry can keep."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Fetched:
    """What was taken of a model's folder: the Keras file and names of columns that fit it.

    left is the code beside it, pickled or not, which was not.
    """

    file: Path
    columns: tuple[str, ...] | None
    left: tuple[str, ...]


def fetch(client: MlflowClient, source: Source, uri: str, folder: Path, step: Progress) -> Fetched:
    """The Keras file of a model's folder, in a folder of this machine; nothing else is fetched."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    there = get_artifact_repository(source.location, tracking_uri=client.tracking_uri)
    there.thread_pool = AtOnce()
    sizes = {one.path: one.file_size for one in there.list_artifacts()}
    if MLMODEL not in sizes:
        raise InvalidFile(uri, f"there is no file {MLMODEL} in it; give the model's own folder")
    mlmodel = read_mlmodel(Path(there.download_artifacts(MLMODEL, str(folder))), uri)
    data = data_path(mlmodel["flavors"], uri)
    sizes |= {one.path: one.file_size for one in there.list_artifacts(data)}
    path = keras_file(data, sizes, uri)
    step(f"fetching {shown(PurePosixPath(path).name)} from MLflow, {sizes[path] or 0:,} bytes")
    file = Path(there.download_artifacts(path, str(folder)))
    return Fetched(
        file,
        fitting_columns(mlmodel, file),
        tuple(one for one in sorted(sizes) if one.endswith(CODE)),
    )


class AtOnce(Executor):
    """Fetches in the caller's thread: a thread of MLflow's would outlive Ctrl-C."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done."""
        done = Future[Any]()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def read_mlmodel(file: Path, uri: str) -> dict[str, Any]:
    """MLflow's description of a model; its ``flavors`` are a dict of dicts."""
    found: Any = None
    if file.stat().st_size <= MLMODEL_BYTES:
        with suppress(yaml.YAMLError, ValueError, RecursionError):
            # The base loader knows texts, lists and dicts alone: no objects, and no merges, which
            # a few bytes can make endless.
            found = yaml.load(file.read_bytes(), yaml.BaseLoader)  # noqa: S506
    flavors = found.get("flavors") if isinstance(found, dict) else None
    if not isinstance(flavors, dict) or not all(isinstance(one, dict) for one in flavors.values()):
        raise InvalidFile(uri, f"its file {MLMODEL} is damaged; log the model again")
    return dict(found)


def data_path(flavors: Mapping[str, Mapping[str, Any]], uri: str) -> str:
    """Where the Keras file, or the folder of it, lies in the model's folder."""
    flavor = flavors.get("keras") or flavors.get("tensorflow")
    if flavor is None:
        raise InvalidFile(
            uri,
            f"it is no Keras model; MLflow knows it as {shown(spelled(flavors))}, "
            "kerasql takes 'keras' and 'tensorflow'",
        )
    if "saved_model_dir" in flavor or flavor.get("save_exported_model") == "true":
        raise saved_model(uri)
    data = flavor.get("data", "model.h5")
    path = PurePosixPath(data) if isinstance(data, str) else PurePosixPath("/")
    if path.is_absolute() or ".." in path.parts or "\\" in str(path):
        raise RefusedFile(
            uri, f"its file {MLMODEL} leads out of the model's folder: data = {shown(data)!r}"
        )
    return str(path)


def keras_file(data: str, sizes: Mapping[str, int | None], uri: str) -> str:
    """The path of the Keras file among those that are there."""
    folder = f"{data}/model"
    for path in (data, *(f"{folder}{suffix}" for suffix in SUFFIXES)):
        if path in sizes and path.endswith(SUFFIXES):
            return path
    if folder in sizes:
        raise saved_model(uri)
    raise InvalidFile(uri, f"there is no {folder}.keras or {folder}.h5 in it; log the model again")


def saved_model(uri: str) -> InvalidFile:
    """What to do with a model of TensorFlow's own format."""
    return InvalidFile(
        uri,
        "it is a SavedModel, and kerasql reads .keras and .h5; log it with mlflow.keras.log_model "
        "and no save_exported_model, or, before TensorFlow 2.16, with "
        "mlflow.tensorflow.log_model(…, keras_model_kwargs={'save_format': 'h5'})",
    )


def fitting_columns(mlmodel: Mapping[str, Any], file: Path) -> tuple[str, ...] | None:
    """The columns of the model's signature, where each is one number of its one input."""
    try:
        columns = json.loads(mlmodel["signature"]["inputs"])
        if {column["type"] for column in columns} - NUMBERS:
            return None
        names = [str(column["name"]) for column in columns]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None  # a signature is optional, and its columns may have no names
    inputs = tuple(
        TensorSpec(one["name"], one["dtype"] or "", tuple((one["shape"] or ())[1:]))
        for one in inspect_apart(file).inputs
    )
    if len(inputs) != 1 or inputs[0].shape != (len(names),):
        return None
    with suppress(InvalidInput):
        return columns_of(Signature(inputs, ()), names)
    return None
