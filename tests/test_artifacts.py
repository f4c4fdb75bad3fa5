"""Bytes at rest: in the database, in a folder and on S3, checked whenever they leave."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deposits import deposit, random_file
from sqlalchemy import delete, select, update

from kerasql.registry.artifacts import CHUNK_BYTES
from kerasql.registry.check import check
from kerasql.registry.database import upgrade, writing
from kerasql.registry.errors import BrokenArtifact, InvalidInput, RegistryUnavailable
from kerasql.registry.folder import folder_url
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import ChunkRow

DAY_S = 86_400
BIG_BYTES = 128 * 2**20
GROWTH_MB = 64


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket on a server that speaks S3."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        files = s3fs.S3FileSystem()
        files.mkdir("models")
        yield "s3://models/team"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["files", "s3"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each place outside the database."""
    if request.param == "files":
        return f"file://{tmp_path}/artifacts"
    bucket: str = request.getfixturevalue("s3")
    return f"{bucket}/{tmp_path.name}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


def place_of(registry: Registry) -> tuple[Any, str]:
    """Its file system and the folder there."""
    assert registry._folder
    return registry._folder._files, registry._folder._root


def files_at(registry: Registry) -> list[str]:
    files, root = place_of(registry)
    return sorted(files.find(root))


@pytest.mark.parametrize(
    "size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 8 * 2**20, 3 * CHUNK_BYTES + 7]
)
def test_bytes_come_back_from_the_database(
    registry: Registry, tmp_path: Path, size_bytes: int
) -> None:
    model = random_file(tmp_path / "m.h5", size_bytes)
    version = deposit(registry, "m", model)
    pieces = list(registry.open_artifact(version, "model"))
    assert b"".join(pieces) == model.read_bytes()
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, 8 * 2**20, 5 * CHUNK_BYTES + 7])
def test_bytes_come_back_from_files(
    url: str, artifacts: str, tmp_path: Path, size_bytes: int
) -> None:
    model = random_file(tmp_path / "m.h5", size_bytes)
    with connect(url, artifacts=artifacts) as registry:
        version = deposit(registry, "m", model)
        copy = io.BytesIO()
        registry.copy_artifact("m", "model", copy)
        assert copy.getvalue() == model.read_bytes()
        sha256 = version.artifacts["model"].sha256
        assert [path.rsplit("/", 2)[1:] for path in files_at(registry)] == [[sha256[:2], sha256]]
    assert check(url).broken == ()


def test_nothing_a_user_types_is_part_of_a_path(url: str, artifacts: str, tmp_path: Path) -> None:
    model = random_file(tmp_path / "secret_project.h5")
    with connect(url, artifacts=artifacts) as registry:
        deposit(registry, "flowers", model, description="tulips", tags=["spring"], owner="ada")
        (path,) = files_at(registry)
        named = path.removeprefix(place_of(registry)[1])
        for word in ("secret", "project", "flowers", "tulips", "spring", "ada/", "model"):
            assert word not in named


def test_changing_the_setting_loses_no_artifact(
    url: str, artifacts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [random_file(tmp_path / f"{index}.h5") for index in range(3)]
    for model, place in zip(models, ["", artifacts, f"file://{tmp_path}/other"], strict=True):
        monkeypatch.setenv("KERASQL_ARTIFACTS", place)
        with connect(url) as registry:
            deposit(registry, "m", model)
    for number, model in enumerate(models, 1):
        with connect(url) as registry:
            assert registry.read_artifact(f"m@{number}", "model") == model.read_bytes()
    assert check(url).broken == ()


def test_a_relative_folder_is_kept_as_an_absolute_one(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with connect(url, artifacts="artifacts") as registry:
        deposit(registry, "m", random_file(tmp_path / "m.h5"))
        monkeypatch.chdir("/")
        assert len(registry.read_artifact("m", "model")) == 1000


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_flipped_byte_in_the_database_names_version_and_artifact(
    registry: Registry, tmp_path: Path, position: int
) -> None:
    version = deposit(registry, "m", random_file(tmp_path / "m.h5", 2 * CHUNK_BYTES + 100))
    sha256 = version.artifacts["model"].sha256
    with writing(registry._engine) as db:
        here = (ChunkRow.sha256 == sha256) & (ChunkRow.position == position)
        data = bytearray(db.scalars(select(ChunkRow.data).where(here)).one())
        data[len(data) // 2] ^= 1
        db.execute(update(ChunkRow).where(here).values(data=bytes(data)))
    given = io.BytesIO()
    with pytest.raises(BrokenArtifact, match=f"'model' .{sha256}. of m@1 is not what was"):
        registry.copy_artifact("m", "model", given)
    assert given.tell() < version.artifacts["model"].size_bytes
    assert len(registry.broken_artifacts()) == 1


def test_a_missing_chunk_and_a_missing_artifact_are_broken(
    registry: Registry, tmp_path: Path
) -> None:
    version = deposit(registry, "m", random_file(tmp_path / "m.h5", CHUNK_BYTES + 100))
    with writing(registry._engine) as db:
        db.execute(delete(ChunkRow).where(ChunkRow.position == 1))
    with pytest.raises(BrokenArtifact, match="of m@1 is not what was registered"):
        registry.read_artifact(version, "model")
    with writing(registry._engine) as db:
        db.execute(delete(ChunkRow))
    with pytest.raises(BrokenArtifact, match="of m@1 is missing"):
        registry.read_artifact(version, "model")


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is not what was registered"),
        (lambda data: data[:-1], "is not what was registered"),
        (lambda data: data + b"more", "is not what was registered"),
        (None, "is missing"),
    ],
)
def test_an_altered_file_names_version_and_artifact(
    url: str,
    artifacts: str,
    tmp_path: Path,
    damage: Callable[[bytes], bytes] | None,
    wrong: str,
) -> None:
    with connect(url, artifacts=artifacts) as registry:
        deposit(registry, "m", random_file(tmp_path / "m.h5"))
        (path,) = files_at(registry)
        files, _ = place_of(registry)
        if damage:
            files.pipe_file(path, damage(files.cat_file(path)))
        else:
            files.rm_file(path)
        with pytest.raises(BrokenArtifact, match=f"'model' .* of m@1 {wrong}"):
            registry.read_artifact("m", "model")
    (sentence,) = check(url).broken
    assert "m@1" in sentence


def test_registering_the_same_bytes_again_mends_a_broken_file(
    url: str, artifacts: str, tmp_path: Path
) -> None:
    model = random_file(tmp_path / "m.h5")
    with connect(url, artifacts=artifacts) as registry:
        deposit(registry, "m", model)
        (path,) = files_at(registry)
        place_of(registry)[0].pipe_file(path, b"broken")
        deposit(registry, "m", model, columns=("another",))
        assert registry.read_artifact("m@1", "model") == model.read_bytes()


def test_a_file_that_changes_while_it_is_registered_is_not_stored(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_file(tmp_path / "m.h5")
    monkeypatch.setattr(registry, "check_name", lambda name: random_file(model))
    with pytest.raises(InvalidInput, match=r"m\.h5 changed while it was being registered"):
        deposit(registry, "m", model)
    assert registry.models() == []


def test_a_file_that_changes_while_it_is_registered_is_not_put_among_the_files(
    url: str, artifacts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_file(tmp_path / "m.h5", 9 * 2**20)
    with connect(url, artifacts=artifacts) as registry:
        monkeypatch.setattr(registry, "check_name", lambda name: random_file(model, 9 * 2**20))
        with pytest.raises(InvalidInput, match=r"m\.h5 changed while it was being registered"):
            deposit(registry, "m", model)
        assert registry.models() == []
        assert files_at(registry) == []


def test_orphans_are_swept_after_the_grace_and_nothing_else(
    url: str, artifacts: str, tmp_path: Path
) -> None:
    with connect(url, artifacts=artifacts) as registry:
        deposit(registry, "m", random_file(tmp_path / "m.h5"))
        (kept,) = files_at(registry)
        files, root = place_of(registry)
        orphan = hashlib.sha256(b"orphan").hexdigest()
        files.makedirs(f"{root}/{orphan[:2]}", exist_ok=True)
        files.pipe_file(f"{root}/{orphan[:2]}/{orphan}", b"orphan")
        files.pipe_file(f"{root}/README", b"someone else's")
        assert registry.collect() == 0
        assert len(files_at(registry)) == 3
        assert registry.collect(older_than_s=0) == 1
        assert files_at(registry) == sorted([kept, f"{root}/README"])
        assert len(registry.read_artifact("m", "model")) == 1000


def test_what_a_killed_process_left_of_a_file_is_swept_after_a_day(
    url: str, tmp_path: Path
) -> None:
    with connect(url, artifacts=f"file://{tmp_path}/artifacts") as registry:
        deposit(registry, "m", random_file(tmp_path / "m.h5"))
        (kept,) = files_at(registry)
        part = Path(f"{kept}.x1_z.part")
        part.write_bytes(b"half")
        assert registry.collect(older_than_s=0) == 0
        yesterday = time.time() - DAY_S - 60
        os.utime(part, (yesterday, yesterday))
        assert registry.collect() == 1
        assert files_at(registry) == [kept]


def test_registries_that_share_a_url_do_not_sweep_each_other(
    artifacts: str, tmp_path: Path
) -> None:
    model = random_file(tmp_path / "m.h5")
    one, two = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two"))
    with connect(one, artifacts=artifacts) as first, connect(two, artifacts=artifacts) as second:
        deposit(first, "m", model)
        deposit(second, "m", model)
        second.remove_alias("m", "production")
        second.delete("m@1")
        second.collect(older_than_s=0)
        assert files_at(second) == []
        assert first.read_artifact("m", "model") == model.read_bytes()


def test_deleting_sweeps_files_older_than_a_day(url: str, tmp_path: Path) -> None:
    with connect(url, artifacts=f"file://{tmp_path}/artifacts") as registry:
        for age in ("old", "young"):
            deposit(registry, "m", random_file(tmp_path / f"{age}.h5"), columns=(age,))
        registry.remove_alias("m", "production")
        yesterday = time.time() - DAY_S - 60
        old = registry.get("m@1").artifacts["model"].sha256
        (path,) = [path for path in files_at(registry) if path.endswith(old)]
        os.utime(path, (yesterday, yesterday))
        registry.delete("m@1")
        registry.delete("m@2")
        (young,) = files_at(registry)
        assert young != path


def test_a_place_that_cannot_be_reached_is_one_sentence(url: str, s3: str, tmp_path: Path) -> None:
    model = random_file(tmp_path / "m.h5")
    with (
        connect(url, artifacts="s3://no-such-bucket/x") as registry,
        pytest.raises(RegistryUnavailable, match=r"s3://no-such-bucket/.* artifacts cannot be"),
    ):
        deposit(registry, "m", model)
    (tmp_path / "file").touch()
    with (
        connect(url, artifacts=f"file://{tmp_path}/file") as registry,
        pytest.raises(RegistryUnavailable, match="its artifacts cannot be reached"),
    ):
        deposit(registry, "m", model)
    with connect(url, artifacts="") as registry:
        assert registry.models() == []


def test_an_unknown_protocol_is_one_sentence(url: str) -> None:
    with pytest.raises(InvalidInput, match="nonsense://x"):
        connect(url, artifacts="nonsense://x")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("ftp://ada:s3cret@127.0.0.1/models", "ftp://ada:***@127.0.0.1/models"),
        ("ftp://ada@b.org:s3c:r/e@t@127.0.0.1:21/m", "ftp://ada@b.org:***@127.0.0.1:21/m"),
        ("ftp://:s3cret@127.0.0.1", "ftp://:***@127.0.0.1"),
        ("sftp://ada:22@127.0.0.1/models", "sftp://ada:***@127.0.0.1/models"),
        ("simplecache::ftp://ada:s3cret@127.0.0.1/m", "simplecache::ftp://ada:***@127.0.0.1/m"),
    ],
)
def test_a_url_with_a_password_is_refused_and_not_shown(url: str, place: str, shown: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        connect(url, artifacts=place)
    assert str(refused.value) == (
        f"the artifact URL {shown} holds a password; give it through the client's environment"
    )


@pytest.mark.parametrize(
    "place",
    [
        "memory://host:21/a@b",
        "memory://bucket/a:b@c",
        "memory://ada@host/models",
        "memory://[2001:db8::1]/a@b",
        "simplecache::memory://ada@host/models",
    ],
)
def test_a_url_without_a_password_is_taken(place: str) -> None:
    assert folder_url(place, "id") == f"{place}/id"


MEASURE = """
import json, re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from deposits import deposit
from kerasql.registry.store import connect

def peak_mb():
    # Not resource.getrusage: its maximum is inherited from the process that forked this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

with connect(sys.argv[1], artifacts=sys.argv[2]) as registry:
    deposit(registry, "small", Path(__file__))
    registry.read_artifact("small", "model")
    before = peak_mb()
    version = deposit(registry, "m", Path(sys.argv[3]))
    saved = peak_mb()
    size = sum(len(piece) for piece in registry.open_artifact(version, "model"))
    print(json.dumps([size, saved - before, peak_mb() - before]))
"""


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("big") / "big.h5"
    noise = os.urandom(CHUNK_BYTES)
    with path.open("wb") as file:
        for index in range(BIG_BYTES // CHUNK_BYTES):
            file.write(index.to_bytes(8, "big") + noise[8:])
    yield path
    path.unlink()


def growth_mb(url: str, artifacts: str, big_file: Path, folder: Path) -> float:
    """How much a process grows that registers the file and reads it again."""
    script = folder / "measure.py"
    script.write_text(MEASURE)
    child = subprocess.run(
        [sys.executable, script, url, artifacts, big_file, Path(__file__).parent],
        check=True,
        capture_output=True,
        text=True,
    )
    size_bytes, saving_mb, total_mb = json.loads(child.stdout)
    print(f"{saving_mb:.0f} MB to save, {total_mb:.0f} MB in all")
    assert size_bytes == BIG_BYTES
    assert isinstance(total_mb, float)
    return total_mb


def test_a_big_model_passes_through_the_database_in_little_memory(
    database_url: str, tmp_path: Path, big_file: Path
) -> None:
    upgrade(database_url)
    assert growth_mb(database_url, "", big_file, tmp_path) < GROWTH_MB


def test_a_big_model_passes_through_files_in_little_memory(
    url: str, artifacts: str, tmp_path: Path, big_file: Path
) -> None:
    assert growth_mb(url, artifacts, big_file, tmp_path) < GROWTH_MB
