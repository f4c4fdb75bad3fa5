"""From a stranger's file to what a version keeps: inspect, audit, construct, in this order."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasql.registry.code import BUILDER, defines, read_source
from kerasql.registry.engine import PRECISIONS, engine_named
from kerasql.registry.errors import (
    InvalidFile,
    InvalidInput,
    InvalidLabels,
    InvalidPreprocess,
    UntrustedCode,
    spelled,
)
from kerasql.registry.h5.apart import inspect_apart
from kerasql.registry.h5.architecture import read_architecture
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.construct import Progress, construct
from kerasql.registry.h5.inspection import WEIGHTS, Inspection, require_model
from kerasql.registry.labels import read_labels
from kerasql.registry.names import IDENTIFIER
from kerasql.registry.preprocess import Code, Preprocessor
from kerasql.registry.signature import SQL_TYPES, Output, Signature, TensorSpec, scores_of
from kerasql.registry.version import Examined

GivenPreprocess = Preprocessor | Callable[..., Any] | str
GivenLabels = Sequence[str] | str | Path
FOLDERS = "kerasql-register-"
LOCK = "in-use"
YOUNG_S = 0.1
"""A lock file this young may be about to be locked by the process that made it."""

OUTPUT_KINDS = ("label", "top_k", "scores", "value")


@dataclass(frozen=True)
class Deposit:
    """What one registration brings: facts, how SQL calls it, and files by role."""

    examined: Examined
    preprocess: dict[str, Any]
    outputs: dict[str, Output]
    columns: tuple[str, ...] | None
    files: dict[str, Path]


@contextmanager
def examined(
    path: Path,
    *,
    preprocess: GivenPreprocess | Mapping[str, GivenPreprocess] | None,
    labels: GivenLabels | Mapping[str, GivenLabels] | None,
    output: str | Mapping[str, str] | None,
    threshold: float,
    top_k: int,
    columns: Sequence[str] | None,
    engine: str | None,
    precision: str,
    architecture: str | Path | None,
    code: str | Path | None,
    weights_only: bool,
    trust_code: bool,
    progress: Progress,
) -> Iterator[Deposit]:
    """Examine a private copy of the file; its artifacts exist until the block is left."""
    check_engine(engine, precision)
    given = given_preprocess(preprocess, trust_code=trust_code)
    source = given_source(code, trust_code=trust_code)
    class_names = given_labels(labels)
    with private_folder() as folder:
        progress("inspecting the file")
        copies = {"model": private_copy(path, folder, "given")}
        inspection = inspect_apart(copies["model"], path.name)
        if architecture is not None:
            copies["architecture"] = private_copy(Path(architecture), folder, "architecture")
        if source is not None:
            copies["code"] = folder / "code.py"
            copies["code"].write_text(source, encoding="utf-8")
        audited = what_to_construct(
            path.name, inspection, copies, architecture, source, weights_only=weights_only
        )

        def fit(signature: Signature) -> tuple[dict[str, Output], tuple[str, ...] | None]:
            outputs = outputs_of(
                signature, class_names, output=output, threshold=threshold, top_k=top_k
            )
            return outputs, columns_of(signature, columns)

        constructed = construct(
            copies["model"],
            name=path.name,
            folder=folder,
            audited=audited,
            preprocess={name: one.to_json() for name, one in given.items()},
            engine=engine,
            precision=precision,
            progress=progress,
            accept=fit,
        )
        outputs, column_names = fit(constructed.signature)
        yield Deposit(
            examined=Examined(
                signature=constructed.signature,
                layers=constructed.layers,
                parameters=constructed.parameters,
                keras_version=audited["keras_version"],
                engine=constructed.engine,
                engine_report=constructed.engine_report,
                inspection={
                    **inspection.report(),
                    "upgrade": constructed.upgrade,
                    "built_by_code": audited["architecture"] is None,
                },
            ),
            preprocess=constructed.preprocess,
            outputs=outputs,
            columns=column_names,
            files={**copies, **constructed.files},
        )


def check_engine(engine: str | None, precision: str) -> None:
    """Refuse an engine or a precision that there is not."""
    if engine is not None:
        engine_named(engine)
    if precision not in PRECISIONS:
        raise InvalidInput(f"no precision {precision!r}; there is {spelled(PRECISIONS)}")


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that is gone at the end; those of processes that were killed are removed here."""
    sweep_dead()
    with (
        tempfile.TemporaryDirectory(prefix=FOLDERS) as folder,
        Path(folder, LOCK).open("w") as held,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)
        yield Path(folder)


def sweep_dead() -> None:
    """Remove the folders of registrations that were killed: nobody holds their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        with suppress(OSError), (folder / LOCK).open() as lock:
            if os.fstat(lock.fileno()).st_mtime > time.time() - YOUNG_S:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def what_to_construct(
    name: str,
    inspection: Inspection,
    copies: Mapping[str, Path],
    architecture: str | Path | None,
    source: str | None,
    *,
    weights_only: bool,
) -> dict[str, Any]:
    """What the child process may build: an architecture that passed the audit, or a builder.

    One that is given apart is taken before the file's own, and the builder where the file was
    given as weights.
    """
    known = defines(source) if source is not None else frozenset[str]()
    found = {"keras_version": inspection.keras_version, "backend": inspection.backend}
    if inspection.kind != WEIGHTS or (architecture is None and BUILDER not in known):
        require_model(inspection, name)
    if architecture is not None:
        given = read_architecture(copies["architecture"], Path(architecture).name)
        audit(Path(architecture).name, given.config, defines=known)
        found = {
            "keras_version": given.keras_version or found["keras_version"],
            "backend": found["backend"] or given.backend,
        }
        config, kind = given.config, "weights"
    elif inspection.config is not None and not (weights_only and BUILDER in known):
        audit(name, inspection.config, defines=known)
        config, kind = inspection.config, inspection.format
    else:
        config, kind = None, "weights"
    return {**found, "architecture": config, "format": kind, "code": source}


def private_copy(path: Path, folder: Path, name: str) -> Path:
    """The same bytes where nobody changes them between being read, proven and stored."""
    if not path.is_file():
        # A folder, or nothing: the inspection says which in its own words.
        return path
    copy = folder / name
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        raise InvalidFile(path.name, f"it cannot be read ({error.strerror})") from error
    return copy


def given_preprocess(
    given: GivenPreprocess | Mapping[str, GivenPreprocess] | None, *, trust_code: bool
) -> dict[str, Preprocessor]:
    """Preprocessors by input name; under ``""`` for the one input of a model."""
    if given is None:
        return {}
    by_name = given if isinstance(given, Mapping) else {"": given}
    found = {name: _one_preprocess(one) for name, one in by_name.items()}
    if not trust_code and any(one.runs_code for one in found.values()):
        raise UntrustedCode("the preprocessor")
    return found


def _one_preprocess(given: GivenPreprocess) -> Preprocessor:
    if isinstance(given, str):
        file, colon, function = given.rpartition(":")
        if not colon:
            raise InvalidPreprocess(f"{given!r} names no function; write file.py:function")
        return Code.file(file, function)
    if hasattr(given, "to_json"):
        return given  # type: ignore[return-value]  # a preprocessor is known by its JSON
    if callable(given):
        return Code.of(given)
    raise InvalidPreprocess(
        f"{given!r} is no preprocessor; give Image(…), Tensor(…), Text(…) or a Python function"
    )


def given_source(code: str | Path | None, *, trust_code: bool) -> str | None:
    """The text of the owner's Python file, which needs its grant."""
    if code is None:
        return None
    source = read_source(code)
    if not trust_code:
        raise UntrustedCode(Path(str(code)).name)
    return source


def given_labels(
    labels: GivenLabels | Mapping[str, GivenLabels] | None,
) -> dict[str, tuple[str, ...]]:
    """Class names by output name; under ``""`` for the one output of a model."""
    if labels is None:
        return {}
    by_name = labels if isinstance(labels, Mapping) else {"": labels}
    return {name: _one_labels(one) for name, one in by_name.items()}


def _one_labels(labels: GivenLabels) -> tuple[str, ...]:
    names = read_labels(labels) if isinstance(labels, str | Path) else list(labels)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InvalidLabels(f"{name!r} cannot be a class name; give non-empty text")
    if not names:
        raise InvalidLabels("the list of class names is empty")
    return tuple(names)


def outputs_of(
    signature: Signature,
    labels: Mapping[str, tuple[str, ...]],
    *,
    output: str | Mapping[str, str] | None,
    threshold: float,
    top_k: int,
) -> dict[str, Output]:
    """How each output becomes a SQL value; checked against the shapes of the outputs."""
    if not 0 <= threshold <= 1:
        raise InvalidInput(f"a threshold of {threshold} cannot be reached; give 0 to 1")
    if top_k < 1:
        raise InvalidInput(f"top_k={top_k} would give nothing; give 1 or more")
    names = [spec.name for spec in signature.outputs]
    class_names = _by_output(labels, names, "class names")
    kinds = _by_output(
        output if isinstance(output, Mapping) else {"": output} if output else {}, names, "output"
    )
    return {
        spec.name: _output(
            spec, class_names.get(spec.name, ()), kinds.get(spec.name), threshold, top_k
        )
        for spec in signature.outputs
    }


def _by_output(given: Mapping[str, Any], names: Sequence[str], what: str) -> dict[str, Any]:
    if "" in given:
        if len(names) > 1:
            raise InvalidInput(
                f"the model has {len(names)} outputs; give {what} by output name: {spelled(names)}"
            )
        return {names[0]: given[""]}
    if unknown := sorted(set(given) - set(names)):
        raise InvalidInput(f"the model has no output {spelled(unknown)}; there is {spelled(names)}")
    return dict(given)


def _output(
    spec: TensorSpec, labels: tuple[str, ...], kind: str | None, threshold: float, top_k: int
) -> Output:
    if kind is None:
        kind = "label" if labels else scores_of(spec).kind
    if kind not in OUTPUT_KINDS:
        raise InvalidInput(f"no output kind {kind!r}; there is {spelled(OUTPUT_KINDS)}")
    if spec.dtype not in SQL_TYPES:
        raise InvalidInput(
            f"the output {spec.name!r} is {spec.dtype}, which SQL has no type for; "
            "end the model with a cast to float32"
        )
    if labels and kind in ("label", "top_k"):
        _check_labels(spec, labels)
    elif kind in ("label", "top_k"):
        raise InvalidLabels(f"the output {spec.name!r} as {kind!r} needs class names (labels=)")
    elif labels:
        raise InvalidLabels(
            f"the output {spec.name!r} as {kind!r} shows no class names; leave labels out"
        )
    elif kind == "value" and spec.size != 1:
        raise InvalidInput(
            f"the output {spec.name!r} has shape {spec.shape}, which is no single number; "
            "use output='scores'"
        )
    # What the kind does not use stays at its default: it makes no other version.
    decides = kind == "label" and spec.size == 1
    return Output(
        kind,
        labels,
        threshold if decides else Output.threshold,
        min(top_k, len(labels)) if kind == "top_k" else Output.k,
    )


def _check_labels(spec: TensorSpec, labels: tuple[str, ...]) -> None:
    if spec.dtype in ("string", "bool"):
        raise InvalidLabels(f"the output {spec.name!r} is {spec.dtype}; class names need scores")
    if len(spec.shape) != 1:
        raise InvalidLabels(
            f"the output {spec.name!r} has shape {spec.shape}; class names need one score each, "
            "in one dimension"
        )
    if spec.shape[0] == 1 and len(labels) != 2:
        raise InvalidLabels(
            f"the output {spec.name!r} is one number, which decides between 2 class names; "
            f"{len(labels)} were given"
        )
    if spec.shape[0] not in (1, len(labels)):
        raise InvalidLabels(
            f"the output {spec.name!r} has {spec.shape[0]} scores; "
            f"{len(labels)} class names were given"
        )


def columns_of(signature: Signature, columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names under which a tabular input's numbers are given one by one."""
    if columns is None:
        return None
    spec = signature.inputs[0]
    if len(signature.inputs) > 1 or len(spec.shape) != 1 or spec.dtype == "string":
        raise InvalidInput(
            "column names are for a model with one input of one dimension; this one takes "
            + spelled(f"{i.name} {i.shape}" for i in signature.inputs)
        )
    if spec.shape[0] not in (None, len(columns)):
        raise InvalidInput(
            f"the input {spec.name!r} takes {spec.shape[0]} numbers; {len(columns)} column names "
            "were given"
        )
    for name in columns:
        if not IDENTIFIER.fullmatch(name):
            raise InvalidInput(f"{name!r} cannot be a column's name; use letters, digits and _")
    if len({name.lower() for name in columns}) != len(columns):
        raise InvalidInput("two columns have the same name; names are case-insensitive in SQL")
    return tuple(columns)
