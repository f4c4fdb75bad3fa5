"""Models of MLflow: a real server of it, models that it logged itself, and hostile ones."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests
from click.testing import CliRunner

from kerasql.cli import main
from kerasql.registry.engine import ENGINES
from kerasql.registry.errors import (
    InvalidFile,
    InvalidInput,
    InvalidName,
    KerasqlError,
    NotFound,
    RefusedFile,
    RegistryUnavailable,
)
from kerasql.registry.from_mlflow import fitting_columns, import_mlflow, read_mlmodel
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Version

STARTS_S = 120
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
CPU = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
FILES = "/api/2.0/mlflow-artifacts/artifacts"
KERAS = "flavors:\n  keras:\n    data: {data}\n    save_exported_model: false\n"


@dataclass(frozen=True)
class Mlflow:
    """MLflow's server, the ids of what was logged there, and the folder of its answers."""

    uri: str
    ids: dict[str, str]
    folder: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The URL of a server with an empty store."""
    uri = f"http://127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", uri.rpartition(":")[2]),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | QUIET, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + STARTS_S
        while not answers(f"{uri}/health"):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """A server of MLflow with what tests/mlflow_models.py logs."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder) as uri:
        subprocess.run(
            [sys.executable, Path(__file__).with_name("mlflow_models.py"), uri, folder],
            check=True,
            env=os.environ | QUIET | CPU,
            cwd=folder,
        )
        yield Mlflow(uri, json.loads((folder / "logged.json").read_text()), folder)


@pytest.fixture
def take(mlflow: Mlflow, near_or_far: Registry) -> Callable[..., Version]:
    """Imports from that server into an empty registry, in a database and at a server."""
    return lambda uri, **given: import_mlflow(near_or_far, uri, tracking_uri=mlflow.uri, **given)


@pytest.fixture
def near(mlflow: Mlflow, sqlite_registry: Registry) -> Callable[..., Version]:
    """The same, where the registry makes no difference."""
    return lambda uri, **given: import_mlflow(
        sqlite_registry, uri, tracking_uri=mlflow.uri, **given
    )


def scores(registry: Registry, version: Version, folder: Path, x: Any) -> Any:
    """What the version's engine answers to rows."""
    files = {role: folder / role for role in version.artifacts}
    for role, file in files.items():
        file.write_bytes(registry.read_artifact(version, role))
    return ENGINES[version.engine].load(files)([x])[0]


# What comes along


def test_an_alias_brings_its_version_with_what_mlflow_says_of_it(
    take: Callable[..., Version], near_or_far: Registry, mlflow: Mlflow, tmp_path: Path
) -> None:
    version = take("models:/flowers@champion", tags=["new"], metrics={"f1": 0.7})
    logged = np.load(mlflow.folder / "scores.npz")
    assert version.ref == "flowers@1"
    assert version.description == "more petals"
    origin = ("mlflow:flowers/2", f"mlflow-run:{mlflow.ids['run2']}")
    assert version.tags == (*origin, "stage: test", "new")
    assert version.metrics == {"accuracy": 0.7, "f1": 0.7}
    np.testing.assert_allclose(
        scores(near_or_far, version, tmp_path, logged["x"]), logged["y2"], rtol=1e-4, atol=1e-4
    )


def test_every_uri_of_a_version_is_that_version(
    near: Callable[..., Version], mlflow: Mlflow
) -> None:
    first = near("models:/flowers/1")
    by_id = near(f"models:/{mlflow.ids['model1']}", name="Flowers")
    by_run = near(f"runs:/{mlflow.ids['run1']}/model", name="flowers")
    other = near("models:/flowers/2")
    assert [(one.ref, one.existed) for one in (first, by_id, by_run, other)] == [
        ("flowers@1", False),
        ("flowers@1", True),
        ("flowers@1", True),
        ("flowers@2", False),
    ]
    assert (first.description, first.metrics) == ("which iris", {"accuracy": 0.6})


def test_a_run_brings_its_own_description_and_tags(
    near: Callable[..., Version], mlflow: Mlflow
) -> None:
    run = mlflow.ids["run2"]
    version = near(f"runs:/{run}/model", name="tries")
    assert version.description == "the first try"
    assert version.tags == (f"mlflow:{run}/model", f"mlflow-run:{run}", "team: garden")
    assert version.metrics == {"accuracy": 0.7}


def test_what_is_given_stands_before_what_mlflow_says(near: Callable[..., Version]) -> None:
    version = near(
        "models:/flowers/2",
        description="mine",
        metrics={"accuracy": 0.1},
        labels=["setosa", "virginica", "versicolor"],
    )
    assert (version.description, version.metrics) == ("mine", {"accuracy": 0.1})
    assert version.outputs[version.signature.outputs[0].name].kind == "label"


# The command


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_takes_the_options_of_register(
    mlflow: Mlflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_DATABASE", f"sqlite:///{tmp_path}/models.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.uri)
    given = ("--label", "a", "--label", "b", "--label", "c", "--output", "top_k", "--top-k", "2")
    first = run("import", "mlflow", "models:/flowers@champion", "--name", "Irises", *given)
    again = run("import", "mlflow", "models:/flowers/2", "--name", "irises", *given)
    assert first[:2] == (0, "registered irises@1, alias production on the engine openvino\n")
    assert "fetching model.keras from MLflow, " in first[2]
    assert again[:2] == (0, "irises@1 holds exactly this already; nothing was stored\n")
    with connect(f"sqlite:///{tmp_path}/models.db") as registry:
        (output,) = registry.get("irises").outputs.values()
    assert (output.kind, output.labels, output.k) == ("top_k", ("a", "b", "c"), 2)


def test_without_the_client_it_says_how_to_install_it(
    sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InvalidInput, match=r'pip install "kerasql\[mlflow\]"'):
        import_mlflow(sqlite_registry, "models:/flowers/1", tracking_uri="http://127.0.0.1:1")


def test_nothing_is_said_to_mlflows_makers() -> None:
    """In a process of its own: MLflow is silent in a test run anyway."""
    code = (
        "import os, sys\n"
        "import kerasql.cli\n"
        "from kerasql.registry.from_mlflow import answering\n"
        "assert 'mlflow' not in sys.modules\n"
        f"with answering('http://127.0.0.1:{free_port()}'): pass\n"
        "from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "assert MLFLOW_DISABLE_TELEMETRY.get() and get_telemetry_client() is None\n"
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    subprocess.run([sys.executable, "-c", code], check=True, env=ours)


# What is not there


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("models:/roses/1", "no MLflow model 'roses'; there is 'Custom Layers', 'exported'"),
        ("models:/flowers/9", "no MLflow version of flowers '9'; there is '1' and '2'"),
        ("models:/flowers@best", "no MLflow alias of flowers 'best'; there is 'champion'"),
        ("models:/line@best", "no MLflow alias of line 'best'; it has none; name a version"),
        ("models:/m-0000", "no logged MLflow model 'm-0000'; copy its id"),
        ("runs:/0000/model", "no MLflow run '0000'; copy its id"),
    ],
)
def test_what_mlflow_has_not_is_said_with_what_it_has(
    near: Callable[..., Version], uri: str, sentence: str
) -> None:
    with pytest.raises(NotFound) as raised:
        near(uri)
    assert sentence in str(raised.value)


def test_a_path_that_the_run_did_not_log_is_said_with_those_it_did(
    near: Callable[..., Version], mlflow: Mlflow
) -> None:
    with pytest.raises(NotFound, match=r"'best'; there is 'model'"):
        near(f"runs:/{mlflow.ids['run1']}/best", name="flowers")


@pytest.mark.parametrize("uri", ["flowers", "models:/flowers", "models:/flowers/latest", "runs:/1"])
def test_another_uri_is_told_the_four_forms(near: Callable[..., Version], uri: str) -> None:
    with pytest.raises(InvalidInput, match="write models:/name@alias, models:/name/3"):
        near(uri)


def test_a_name_that_sql_cannot_say_needs_another(
    near: Callable[..., Version], mlflow: Mlflow
) -> None:
    with pytest.raises(InvalidName, match=r"'Custom Layers'.*; give another: name= \(--name\)"):
        near("models:/Custom Layers/1")
    with pytest.raises(InvalidInput, match=r"no registered name in MLflow; give one"):
        near(f"models:/{mlflow.ids['model1']}")


def test_a_server_that_is_away_is_one_sentence_without_its_password(
    sqlite_registry: Registry,
) -> None:
    where = f"127.0.0.1:{free_port()}"
    with pytest.raises(RegistryUnavailable) as raised:
        import_mlflow(sqlite_registry, "models:/m/1", tracking_uri=f"http://me:secret@{where}")
    assert str(raised.value) == (
        f"the registry at http://{where} (MLflow) cannot be used: "
        "it does not answer; is it running, and is that its address?"
    )


def test_a_server_that_is_not_mlflows_is_one_sentence(
    sqlite_registry: Registry, folder_server: Callable[..., str]
) -> None:
    with pytest.raises(RegistryUnavailable, match=r"\(MLflow\) cannot be used: .*404") as raised:
        import_mlflow(sqlite_registry, "models:/m/1", tracking_uri=folder_server({}))
    assert "\n" not in str(raised.value)


def test_mlflow_makes_no_store_where_there_is_none(
    sqlite_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidInput, match="give --tracking-uri URL, or set MLFLOW_TRACKING_URI"):
        import_mlflow(sqlite_registry, "models:/m/1")
    with pytest.raises(RegistryUnavailable, match=r"there is no file wrong\.db"):
        import_mlflow(sqlite_registry, "models:/m/1", tracking_uri="sqlite:///wrong.db")
    assert sorted(tmp_path.iterdir()) == before


# Strangers' folders


def test_code_and_pickles_beside_the_file_are_never_run(
    near: Callable[..., Version], mlflow: Mlflow, tmp_path: Path
) -> None:
    layer = tmp_path / "layers.py"
    layer.write_text(
        "import keras\n\n\nclass Doubled(keras.layers.Layer):\n"
        "    def call(self, x):\n        return 2 * x\n"
    )
    with pytest.raises(RefusedFile) as raised:
        near("models:/Custom Layers/1", name="custom")
    given = near("models:/Custom Layers/1", name="custom", code=layer, trust_code=True)
    assert "Doubled" in str(raised.value)
    assert "('code', 'data/custom_objects.cloudpickle' and 'data/glo" in str(raised.value)
    assert given.ref == "custom@1"
    trap, (pickled,) = (
        mlflow.folder / "unpickled",
        mlflow.folder.rglob("custom_objects.cloudpickle"),
    )
    assert not trap.exists()
    pickle.loads(pickled.read_bytes())
    assert trap.exists()


def test_another_flavour_and_a_saved_model_are_named(near: Callable[..., Version]) -> None:
    with pytest.raises(InvalidFile, match="MLflow knows it as 'python_function' and 'sklearn'"):
        near("models:/line/1")
    with pytest.raises(
        InvalidFile, match="models:/exported/1 cannot be registered: it is a SavedM"
    ):
        near("models:/exported/1")


@pytest.fixture
def logged(mlflow: Mlflow) -> Callable[[Mapping[str, bytes | str]], str]:
    """The URI of a folder of such files, logged among the files of a new run."""

    def log(files: Mapping[str, bytes | str]) -> str:
        from mlflow import MlflowClient

        client = MlflowClient(mlflow.uri)
        run_id = client.create_run("0").info.run_id
        for path, content in files.items():
            url = f"{mlflow.uri}{FILES}/0/{run_id}/artifacts/old/{path}"
            data = content.encode() if isinstance(content, str) else content
            requests.put(url, data=data, timeout=60).raise_for_status()
        return f"runs:/{run_id}/old"

    return log


FOUR = [("age", "double"), ("balance", "float"), ("Days", "long"), ("calls", "integer")]


def signature(*columns: tuple[str, str]) -> str:
    return json.dumps([{"name": name, "type": type_} for name, type_ in columns])


@pytest.mark.parametrize(
    ("file", "inputs"),
    [
        ("tabular.h5", signature(*FOUR[:3])),
        ("tabular.h5", signature(*FOUR[:3], ("calls", "string"))),
        ("tabular.h5", signature(*FOUR[:3], ("calls this year", "double"))),
        ("tabular.h5", signature(*FOUR[:3], ("AGE", "double"))),
        ("tabular.h5", '[{"type": "tensor", "tensor-spec": {"shape": [-1, 4]}}]'),
        ("tabular.h5", "[" * 100_000),
        ("pair.h5", signature(*FOUR)),
    ],
)
def test_a_signature_that_names_no_columns_or_others_names_none(
    networks: Path, file: str, inputs: str
) -> None:
    assert fitting_columns({"signature": {"inputs": signature(*FOUR)}}, networks / "tabular.h5")
    assert fitting_columns({"signature": {"inputs": inputs}}, networks / file) is None


def test_a_signature_names_the_columns(
    near: Callable[..., Version], logged: Callable[..., str], networks: Path
) -> None:
    """As MLflow 1 logged a model: a file of HDF5, and a signature of columns."""
    flavor = "flavors:\n  keras:\n    keras_module: keras\n    save_format: h5\n    data: data\n"
    uri = logged(
        {
            "MLmodel": f"{flavor}signature:\n  inputs: '{signature(*FOUR)}'\n",
            "data/model.h5": (networks / "tabular.h5").read_bytes(),
            "data/keras_module.txt": "keras",
        }
    )
    version = near(uri, name="churn")
    assert version.columns == ("age", "balance", "Days", "calls")
    assert version.metrics == {}


def test_columns_that_are_given_stand_before_those_of_the_signature(
    near: Callable[..., Version], logged: Callable[..., str], networks: Path
) -> None:
    file = (networks / "tabular.h5").read_bytes()
    said = f"signature:\n  inputs: '{signature(*FOUR)}'\n"
    uri = logged({"MLmodel": KERAS.format(data="m.h5") + said, "m.h5": file})
    assert near(uri, name="churn", columns=list("abcd")).columns == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("files", "kind", "sentence"),
    [
        ({"MLmodel": KERAS.format(data="../../etc/passwd")}, RefusedFile, "leads out of the mod"),
        ({"MLmodel": KERAS.format(data="/etc/passwd")}, RefusedFile, "leads out of the model's"),
        ({"MLmodel": KERAS.format(data="[a, b]")}, RefusedFile, "leads out of the model's folder"),
        ({"MLmodel": KERAS.format(data="data")}, InvalidFile, "no data/model.keras or data/model"),
        ({"MLmodel": KERAS.format(data="data"), "data/model/saved_model.pb": "x"}, InvalidFile,
         "it is a SavedModel"),
        ({"MLmodel": KERAS.format(data="data"), "data/model.h5": "no"}, InvalidFile, "model.h5"),
        ({"MLmodel": "flavors: {keras: [1]}"}, InvalidFile, "its file MLmodel is damaged"),
        ({"MLmodel": "flavors: " + "[" * 20_000}, InvalidFile, "its file MLmodel is damaged"),
        ({"MLmodel": "\0"}, InvalidFile, "its file MLmodel is damaged"),
        ({"MLmodel": "!!python/object/apply:os.getcwd []"}, InvalidFile, "MLmodel is damaged"),
        ({"MLmodel": "x: " + "y" * 2**20}, InvalidFile, "its file MLmodel is damaged"),
        ({"MLmodel": "flavors: {}"}, InvalidFile, "it is no Keras model"),
    ],
)  # fmt: skip
def test_a_hostile_folder_is_refused_in_one_sentence(
    near: Callable[..., Version],
    logged: Callable[..., str],
    files: dict[str, str],
    kind: type[KerasqlError],
    sentence: str,
) -> None:
    with pytest.raises(kind) as raised:
        near(logged(files), name="m")
    assert sentence in str(raised.value)
    assert str(raised.value).isprintable()


def test_merges_without_end_are_not_followed(tmp_path: Path) -> None:
    """Two to the power of 40 pairs, if each merge were."""
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 41)]
    (tmp_path / "MLmodel").write_text("\n".join([*lines, "flavors: {keras: {<<: *a40}}"]))
    assert list(read_mlmodel(tmp_path / "MLmodel", "m")["flavors"]["keras"]) == ["<<"]


# A server of files that is not MLflow's


@pytest.fixture
def folder_server() -> Iterator[Callable[..., str]]:
    """Serves files as MLflow's servers list and send them; ``stalled`` ones never end."""
    running: list[ThreadingHTTPServer] = []
    over = threading.Event()

    def serve(files: Mapping[str, bytes], stalled: frozenset[str] = frozenset()) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                path = asked.path.partition(FILES)[2].strip("/")
                if path in files:
                    self.answer(files[path], more=10**9 if path in stalled else 0)
                elif FILES in asked.path and not path:
                    (folder,) = parse_qs(asked.query)["path"]
                    listed = [
                        {"path": Path(name).name, "is_dir": False, "file_size": len(content)}
                        for name, content in files.items()
                        if Path(name).parent == Path(folder)
                    ]
                    self.answer(json.dumps({"files": listed}).encode())
                else:
                    self.send_error(404)

            def answer(self, body: bytes, more: int = 0) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + more))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
                if more:
                    over.wait()

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    over.set()
    for server in running:
        server.shutdown()
        server.server_close()


def test_ctrl_c_ends_a_download_and_leaves_nothing(
    folder_server: Callable[..., str], tmp_path: Path
) -> None:
    """In MLflow's own SQLite file, whose version lies at a server that stops sending."""
    file = "m/data/model.keras"
    files = {"m/MLmodel": KERAS.format(data="data").encode(), file: b"PK" * 2**20}
    place = f"{folder_server(files, stalled=frozenset({file}))}{FILES}/m"
    temporary, log = tmp_path / "tmp", tmp_path / "log"
    temporary.mkdir()
    store = f"sqlite:///{tmp_path}/mlflow.db"
    make = (
        f"import mlflow\nclient = mlflow.MlflowClient({store!r})\n"
        "client.create_registered_model('m')\n"
        f"client.create_model_version('m', source={place!r})\n"
    )
    ours = os.environ | QUIET | {"TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", make], check=True, env=ours, cwd=tmp_path)
    command = [
        *(sys.executable, "-m", "kerasql", "--database", f"sqlite:///{tmp_path}/models.db"),
        *("import", "mlflow", "models:/m/1", "--tracking-uri", store),
    ]
    with log.open("w") as written:
        importing = subprocess.Popen(
            command, env=ours, cwd=tmp_path, stdout=written, stderr=written
        )
    try:
        deadline = time.monotonic() + STARTS_S
        while not list(temporary.rglob("model.keras")):
            assert importing.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        importing.send_signal(signal.SIGINT)
        assert importing.wait(STARTS_S) != 0
    finally:
        importing.kill()
        importing.wait()
    assert "fetching model.keras from MLflow" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert list(temporary.iterdir()) == []
