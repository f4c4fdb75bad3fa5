"""The registry: every transaction on models, versions, aliases, artifacts and datasets."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

from sqlalchemy import Connection, Engine, delete, insert, select

from kerasql.registry import aliases, grants, queries
from kerasql.registry.artifacts import artifact_of, checked, read_chunk, write_chunks
from kerasql.registry.database import (
    ARTIFACTS,
    NAMES,
    insert_new,
    lock,
    open_engine,
    reading,
    require_schema,
    shown,
    writing,
)
from kerasql.registry.errors import (
    BrokenArtifact,
    InUse,
    InvalidInput,
    NameTaken,
    NotFound,
    RegistryUnavailable,
)
from kerasql.registry.examine import GivenLabels, GivenPreprocess, examined
from kerasql.registry.folder import PART, Folder, folder_url
from kerasql.registry.h5.construct import Progress
from kerasql.registry.history import History
from kerasql.registry.names import (
    PRODUCTION,
    Ref,
    alias_name,
    check_free,
    dataset_name,
    function_names,
    model_name,
    parse_ref,
)
from kerasql.registry.settings import setting
from kerasql.registry.signature import Output
from kerasql.registry.tables import (
    ArtifactRow,
    DatasetRow,
    ModelRow,
    RegistryRow,
    VersionArtifactRow,
    VersionRow,
)
from kerasql.registry.version import (
    AliasMove,
    Artifact,
    Dataset,
    Examined,
    Model,
    Version,
    absolute_path,
    fingerprint,
    numbers,
    plain_text,
)

DAY_S = 86_400
FILE_FORMATS = {"images", "parquet", "csv", "json", "orc", "text", "xml", "binaryFile", "avro"}


def connect(url: str, *, artifacts: str | None = None, token: str | None = None) -> Registry:
    """The registry in a database: ``sqlite:///models.db`` or ``postgresql://user@host/name``.

    Or at a kerasql server: ``https://host``, with a token, by default the setting KERASQL_TOKEN.
    An SQLite file that is new or empty is made a registry. artifacts is where new artifacts are
    put: empty for the database, or an fsspec URL such as ``s3://bucket/prefix``; by default the
    setting KERASQL_ARTIFACTS. Raises RegistryUnavailable when the database cannot be reached or
    has another schema, or the server does not answer; NotSignedIn for a token it does not know.
    """
    if url.lower().startswith(("http://", "https://")):
        from kerasql.registry.remote import RemoteRegistry

        if artifacts:
            raise InvalidInput("a server puts artifacts where its operator says; leave them out")
        return RemoteRegistry(url, setting("KERASQL_TOKEN") if token is None else token)
    engine = open_engine(url)
    try:
        require_schema(engine)
        return Registry(engine, setting("KERASQL_ARTIFACTS") if artifacts is None else artifacts)
    except BaseException:
        engine.dispose()
        raise


def one_file(path: str | Path | None, weights: str | Path | None) -> Path:
    """The file to register, given as a model or as weights alone."""
    if (path is None) == (weights is None):
        raise InvalidInput("give one file: a whole model, or weights= with architecture= or code=")
    return Path(path if path is not None else str(weights))


class Registry:
    """Models, their versions and the datasets to use them on, in one database.

    >>> with connect("sqlite:///models.db") as registry:
    ...     registry.get("flowers@production").number
    3
    """

    def __init__(self, engine: Engine, artifacts: str = "") -> None:
        self._engine = engine
        self._folder = None
        self._functions: tuple[Any, dict[str, dict[str, tuple[str, str]]]] = None, {}
        if artifacts:
            with reading(engine) as db:
                registry_id = db.scalars(select(RegistryRow.id)).one()
            self._folder = Folder(folder_url(artifacts, registry_id))

    @property
    def url(self) -> str:
        """The database, without its password."""
        return shown(self._engine)

    @property
    def history(self) -> History:
        """The queries that were asked, of all servers on this database."""
        return History(self._engine)

    def close(self) -> None:
        """Give back the connections to the database."""
        self._engine.dispose()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Registry holds database credentials and stays on the driver")

    def __repr__(self) -> str:
        return f"<Registry {self.url}>"

    def register(
        self,
        name: str,
        path: str | Path | None = None,
        *,
        weights: str | Path | None = None,
        architecture: str | Path | None = None,
        code: str | Path | None = None,
        preprocess: GivenPreprocess | Mapping[str, GivenPreprocess] | None = None,
        labels: GivenLabels | Mapping[str, GivenLabels] | None = None,
        output: str | Mapping[str, str] | None = None,
        threshold: float = 0.5,
        top_k: int = 5,
        columns: Sequence[str] | None = None,
        engine: str | None = None,
        precision: str = "f32",
        trust_code: bool = False,
        description: str = "",
        tags: Sequence[str] = (),
        owner: str | None = None,
        metrics: Mapping[str, float] | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Put a ``.h5`` or ``.keras`` file into the registry as the next version of a model.

        A file of any Keras since 1.0 is read, and rewritten for Keras 3 where it must be. A file
        of weights alone is given as weights, with its architecture (a JSON or YAML file) or with
        code that defines ``build()``. code is a Python file with the model's custom layers, or a
        function for each Lambda, named as the layer is; it is kept as text and needs trust_code.

        preprocess turns a column's value into the input: ``Image(…)``, ``Tensor(…)``,
        ``Text(…)``, or a Python function, which needs trust_code; numbers as they are where
        none is given. labels are class names in the order of the scores, or a file of them.
        output is ``label``, ``top_k``, ``scores`` or ``value``. columns name the numbers of a
        tabular input. Several inputs or outputs take a dict by name. engine None takes OpenVINO
        where it equals Keras, else Keras. precision ``bf16`` lets the engine compute in bfloat16,
        which is faster and does not equal Keras; ``engine_report`` says by how much. progress is
        called with the name of each step.

        >>> registry.register("flowers", "flowers.h5", preprocess=Image(size=(224, 224),
        ...                   scale="tf"), labels=["daisy", "tulip"]).ref
        'flowers@1'

        Raises InvalidInput for a name, file, preprocessor or class names that cannot be used
        (RefusedFile for a model that is not made of Keras' own layers alone), ConstructFailed
        where Keras cannot load it.
        """
        step = progress or (lambda name: None)
        self.check_name(name)
        with examined(
            one_file(path, weights),
            preprocess=preprocess,
            labels=labels,
            output=output,
            threshold=threshold,
            top_k=top_k,
            columns=columns,
            engine=engine,
            precision=precision,
            architecture=architecture,
            code=code,
            weights_only=weights is not None,
            trust_code=trust_code,
            progress=step,
        ) as deposit:
            step("storing")
            return self.save(
                name,
                deposit.examined,
                preprocess=deposit.preprocess,
                outputs=deposit.outputs,
                columns=deposit.columns,
                description=description,
                tags=tags,
                owner=owner,
                metrics=metrics,
                files=deposit.files,
            )

    def save(
        self,
        name: str,
        examined: Examined,
        *,
        preprocess: Mapping[str, Any],
        outputs: Mapping[str, Output],
        files: Mapping[str, Path],
        columns: Sequence[str] | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        owner: str | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Version:
        """A new version of a model, stored whole or not at all.

        files are the artifacts by role; ``model`` is the file as it was given. The first version
        of a model gets the alias ``production``. The same deposit again gives the version that
        exists, with ``existed`` set.
        """
        name = model_name(name)
        deposits = {role: artifact_of(path) for role, path in files.items()}
        made_of: dict[str, Any] = {
            "preprocess": dict(preprocess),
            "columns": list(columns) if columns else None,
        }
        given: dict[str, str] = {
            role: deposits[role].sha256 for role in ("architecture", "code") if role in deposits
        }
        if examined.inspection.get("built_by_code"):
            given["built"] = "by code"
        key = fingerprint(
            deposits["model"].sha256,
            outputs,
            engine=examined.engine,
            precision=examined.engine_report.get("precision", "f32"),
            given=given,
            **made_of,
        )
        facts = {
            **made_of,
            "fingerprint": key,
            "outputs": {output: asdict(how) for output, how in outputs.items()},
            "has_scores": any(how.has_scores for how in outputs.values()),
            "description": plain_text(description),
            "tags": [plain_text(tag) for tag in tags],
            "owner": owner,
            "metrics": numbers(metrics or {}),
            **examined.to_json(),
        }
        if same := self.same(name, key):
            return same
        self.check_name(name)
        return self._store(name, facts, deposits, files)

    def same(self, name: str, key: str) -> Version | None:
        """The version of a model with that fingerprint, marked as having existed."""
        with reading(self._engine) as db:
            row = queries.find_same(db, name, key)
        return row and replace(queries.version_of(row), existed=True)

    def check_name(self, name: str) -> None:
        """Refuse a model's name that collides in SQL, before any work is done for it."""
        with reading(self._engine) as db:
            check_free(model_name(name), PRODUCTION, queries.taken_names(db))

    def get(self, ref: str) -> Version:
        """The version that ``name``, ``name@3`` or ``name@production`` names; one query."""
        wanted = parse_ref(ref)
        with reading(self._engine) as db:
            return queries.version_of(queries.find(db, wanted))

    def code(self, ref: str) -> str | None:
        """The Python source that was given with a version, as text; None where none was."""
        version = self.get(ref)
        if "code" not in version.artifacts:
            return None
        text = io.BytesIO()
        self.copy_artifact(version, "code", text)
        return text.getvalue().decode()

    def models(
        self,
        *,
        search: str = "",
        names: Collection[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Model]:
        """Every model that has a version, by name.

        search is a text in its name or in a version's description; names are those to choose
        from; limit and offset take a part of what is found.
        """
        found = queries.models_found(search, names).limit(limit).offset(offset)
        query = queries.overview().where(ModelRow.id.in_(found))
        with reading(self._engine) as db:
            return queries.models_of(db.execute(query).all())

    def model(self, name: str) -> Model:
        """The model of that name."""
        with reading(self._engine) as db:
            rows = db.execute(queries.overview().where(ModelRow.name == name.lower())).all()
            if not rows:
                raise queries.not_found(db, Ref(name, None, None))
        return queries.models_of(rows)[0]

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, the oldest first."""
        query = queries.versions().where(ModelRow.name == name.lower())
        with reading(self._engine) as db:
            rows = db.execute(query.order_by(VersionRow.number)).all()
            if not rows:
                raise queries.not_found(db, Ref(name, None, None))
        return [queries.version_of(row) for row in rows]

    def catalog(self) -> list[tuple[str, dict[str, int], list[tuple[int, bool]]]]:
        """(model, alias to number, (number, has scores) of each version) for all; one query."""
        with reading(self._engine) as db:
            return queries.catalog_of(db.execute(queries.overview()).all())

    def functions(self) -> Mapping[str, Mapping[str, tuple[str, str]]]:
        """Each model's SQL functions (``names.function_names``), not to be changed.

        They are worked out again when a name has changed in the database, whoever changed it.
        """
        with reading(self._engine) as db:
            state = queries.names_state(db)
            known, functions = self._functions
            if known != state:
                catalog = queries.catalog_of(db.execute(queries.overview()).all())
                functions = {
                    name: function_names(name, aliases, versions)
                    for name, aliases, versions in catalog
                }
                self._functions = state, functions
        return functions

    def set_alias(
        self, name: str, version: int, alias: str, *, by: str | None = None, why: str = ""
    ) -> Version:
        """The version, once the alias points to it; a new alias is made, another one moves.

        The next query uses it: ``production`` is what ``name(x)`` calls in SQL, any other
        alias is called as ``name_alias(x)``. Who moved it and why is kept.
        """
        wanted = Ref(name.lower(), version, None)
        alias = alias_name(alias, model=wanted.name)
        with writing(self._engine) as db:
            lock(db, NAMES)
            queries.lock_model(db, wanted.name)
            found = queries.find(db, wanted)
            check_free(wanted.name, alias, queries.taken_names(db))
            aliases.move(db, found.model_id, alias, found.number, by=by, why=plain_text(why))
            return queries.version_of(queries.find(db, wanted))

    def remove_alias(
        self, name: str, alias: str, *, by: str | None = None, why: str = ""
    ) -> Version:
        """The version the alias pointed to, once the alias is gone.

        Without ``production``, ``name(x)`` is no function until the alias is set again; the
        versions can still be called by number.
        """
        wanted = Ref(name.lower(), None, alias.lower())
        with writing(self._engine) as db:
            queries.lock_model(db, wanted.name)
            found = queries.find(db, wanted)
            aliases.move(db, found.model_id, alias.lower(), None, by=by, why=plain_text(why))
            return queries.version_of(queries.find(db, Ref(wanted.name, found.number, None)))

    def undo_alias(
        self, name: str, alias: str, *, by: str | None = None, why: str = ""
    ) -> Version | None:
        """The version the alias points to again, where it did before its last move.

        None where there was no such alias before: it is removed. This is a move too, so undoing
        twice leaves things as they were. Raises InvalidInput where there is nothing to undo, or
        where that version is deleted.
        """
        name, alias = name.lower(), alias.lower()
        with writing(self._engine) as db:
            lock(db, NAMES)
            model_id = queries.lock_model(db, name)
            if model_id is None:
                raise queries.not_found(db, Ref(name, None, None))
            number = aliases.before(db, name, alias)
            if number is not None:
                check_free(name, alias, queries.taken_names(db))
            aliases.move(db, model_id, alias, number, by=by, why=plain_text(why))
            if number is None:
                return None
            return queries.version_of(queries.find(db, Ref(name, number, None)))

    def alias_history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of a model's aliases, or of one of them, the newest first.

        Moves before this was kept (revision 0002) are not known.
        """
        name = name.lower()
        with reading(self._engine) as db:
            moves = aliases.moves(db, name, alias and alias.lower())
            if not moves and not queries.has_versions(db, name):
                raise queries.not_found(db, Ref(name, None, None))
        return moves

    def delete(self, ref: str) -> None:
        """Delete one version, named by its number, and the artifacts that only it referred to.

        Raises InUse when an alias points to it. Its number is never given again.
        """
        wanted = parse_ref(ref)
        if wanted.number is None:
            raise InvalidInput(f"{ref!r} names no version for ever; delete {wanted.name}@<number>")
        with writing(self._engine) as db:
            lock(db, ARTIFACTS)
            queries.lock_model(db, wanted.name)
            found = queries.find(db, wanted)
            if found.aliases:
                raise InUse(str(wanted), queries.split(found.aliases))
            db.execute(delete(VersionRow).where(VersionRow.id == found.id))
            if not queries.has_versions(db, wanted.name):
                grants.forget(db, "model", wanted.name)
            emptied = queries.drop_unreferenced(db)
        # The version is gone. Files that cannot be reached now wait for the next collect().
        with suppress(RegistryUnavailable):
            self._sweep(emptied, older_than_s=DAY_S)

    def collect(self, *, older_than_s: float = DAY_S) -> int:
        """Delete artifact files that no version refers to; returns how many.

        A killed registration may leave some. Younger ones may belong to one that is running.
        """
        return self._sweep(set(), older_than_s=older_than_s)

    def open_artifact(self, version: Version | str, role: str) -> Iterator[bytes]:
        """An artifact's bytes, a few MiB at a time, of a version or a ref.

        Raises BrokenArtifact, before the last piece is handed out, when they are not the bytes
        that were registered.
        """
        if isinstance(version, str):
            version = self.get(version)
        if role not in version.artifacts:
            raise NotFound(f"artifact of {version.ref}", role, sorted(version.artifacts), "")
        artifact = version.artifacts[role]
        return checked(self._pieces(artifact.sha256), artifact, ref=version.ref, role=role)

    def read_artifact(self, version: Version | str, role: str) -> bytes:
        """All bytes of a (small) artifact, checked."""
        return b"".join(self.open_artifact(version, role))

    def copy_artifact(self, version: Version | str, role: str, to: BinaryIO) -> None:
        """Write an artifact's bytes to a file; after a BrokenArtifact the file is worth nothing."""
        to.writelines(self.open_artifact(version, role))

    def broken_artifacts(self) -> list[BrokenArtifact]:
        """What reading and hashing every artifact again finds wrong."""
        with reading(self._engine) as db:
            rows = db.execute(queries.first_uses()).all()
        return [error for row in rows if (error := self._broken(row))]

    def add_dataset(
        self,
        name: str,
        path: str | Path = "",
        *,
        format: str = "images",
        options: Mapping[str, str] | None = None,
        description: str = "",
        owner: str | None = None,
        replace: bool = False,
    ) -> Dataset:
        """A name analysts can put after FROM, for a folder of pictures or any Spark format.

        A local path is kept as an absolute one and must exist; ``s3a://…`` and the like are
        left to Spark. Formats that read no files (``jdbc``) need no path. Options are kept as
        they are and shown to who may list datasets: no place for a password.
        """
        name = dataset_name(name)
        if not str(path) and format in FILE_FORMATS:
            raise InvalidInput(f"a dataset of the format {format!r} needs a path")
        facts = {
            "name": name,
            "format": plain_text(format),
            "path": absolute_path(plain_text(str(path))),
            "options": {str(key): str(value) for key, value in (options or {}).items()},
            "description": plain_text(description),
            "owner": owner,
            "created_at": datetime.now(UTC),
        }
        with writing(self._engine) as db:
            if replace:
                db.execute(delete(DatasetRow).where(DatasetRow.name == name))
            added = insert_new(db, DatasetRow, facts)
            if not added:
                path = queries.find_dataset(db, name).path
                raise NameTaken(name, "dataset", f"the one at {path} (replace=True replaces it)")
            grants.own(db, "dataset", name, owner)
            return queries.dataset_of(queries.find_dataset(db, name))

    def datasets(self) -> list[Dataset]:
        """Every dataset, by name."""
        with reading(self._engine) as db:
            rows = db.execute(select(DatasetRow).order_by(DatasetRow.name)).all()
        return [queries.dataset_of(row) for row in rows]

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name."""
        with reading(self._engine) as db:
            return queries.dataset_of(queries.find_dataset(db, name.lower()))

    def remove_dataset(self, name: str) -> None:
        """Forget a dataset; its files stay where they are."""
        with writing(self._engine) as db:
            found = queries.find_dataset(db, name.lower())
            db.execute(delete(DatasetRow).where(DatasetRow.id == found.id))
            grants.forget(db, "dataset", found.name)

    def _store(
        self,
        name: str,
        facts: dict[str, Any],
        deposits: dict[str, Artifact],
        files: Mapping[str, Path],
    ) -> Version:
        paths = {deposits[role]: path for role, path in files.items()}
        # In one order, so that two writers of the same artifacts never wait for each other.
        artifacts = sorted(paths, key=lambda artifact: artifact.sha256)
        if self._folder:
            for artifact in artifacts:
                self._folder.write(artifact, paths[artifact])
        with writing(self._engine) as db:
            # From here to the end nothing is collected that this version will refer to.
            lock(db, ARTIFACTS, shared=True)
            for artifact in artifacts:
                self._deposit(db, artifact, paths[artifact])
            # After the bytes, because all writers of this model wait for its row.
            model_id = queries.lock_or_add_model(db, name)
            if same := queries.find_same(db, name, facts["fingerprint"]):
                db.rollback()
                return replace(queries.version_of(same), existed=True)
            version_id = queries.add_version(db, model_id, name, facts)
            roles = [
                {"version_id": version_id, "role": role, "sha256": artifact.sha256}
                for role, artifact in deposits.items()
            ]
            db.execute(insert(VersionArtifactRow), roles)
            row = db.execute(queries.versions().where(VersionRow.id == version_id)).one()
            return queries.version_of(row)

    def _deposit(self, db: Connection, artifact: Artifact, path: Path) -> None:
        facts = {
            **asdict(artifact),
            "url": self._folder.url if self._folder else None,
            "created_at": datetime.now(UTC),
        }
        is_new = insert_new(db, ArtifactRow, facts)
        if self._folder is None:
            if is_new:
                write_chunks(db, artifact, path)
        elif not self._folder.holds(artifact):
            # It was written before this transaction, and a delete of the same bytes swept it.
            self._folder.write(artifact, path)

    def _pieces(self, sha256: str) -> Iterator[bytes]:
        with reading(self._engine) as db:
            row = db.execute(select(ArtifactRow).where(ArtifactRow.sha256 == sha256)).first()
        if row is None:
            return
        if row.url:
            yield from Folder(row.url).read(sha256)
            return
        position, left = 0, row.size_bytes
        while left > 0:
            with reading(self._engine) as db:
                data = read_chunk(db, sha256, position)
            if not data:
                return
            yield data
            position, left = position + 1, left - len(data)

    def _broken(self, row: Any) -> BrokenArtifact | None:
        artifact, ref = Artifact(row.sha256, row.size_bytes), f"{row.name}@{row.number}"
        try:
            for _ in checked(self._pieces(row.sha256), artifact, ref=ref, role=row.role):
                pass
        except BrokenArtifact as error:
            return error
        return None

    def _sweep(self, urls: set[str], *, older_than_s: float) -> int:
        with reading(self._engine) as db:
            rows = db.execute(select(ArtifactRow).where(ArtifactRow.url.is_not(None))).all()
        urls = urls | {row.url for row in rows} | ({self._folder.url} if self._folder else set())
        used = {(row.url, row.sha256) for row in rows}
        return sum(
            self._remove_file(folder, sha256, path, older_than_s=older_than_s)
            for folder in map(Folder, sorted(urls))
            for sha256, path in folder.old_files(older_than_s=older_than_s)
            if (folder.url, sha256) not in used or path.endswith(PART)
        )

    def _remove_file(self, folder: Folder, sha256: str, path: str, *, older_than_s: float) -> bool:
        with writing(self._engine) as db:
            # Asked again under the lock: a registration may have written it anew.
            lock(db, ARTIFACTS)
            query = select(ArtifactRow).where(ArtifactRow.sha256 == sha256)
            used = db.execute(query.where(ArtifactRow.url == folder.url)).first()
            if used and not path.endswith(PART):
                return False
            if not folder.is_old(path, older_than_s=older_than_s):
                return False
            folder.remove(path)
            return True
