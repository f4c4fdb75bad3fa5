"""Register -> SQL, end to end: the one to read first."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidQuery, NotFound
from kerasql.registry.preprocess import Code, Image, Tensor, Text
from kerasql.registry.store import Registry, connect
from kerasql.udf.artifacts import _sent
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query

COLORS = ["red", "green", "blue"]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def pictures(session: SparkSession, count: int = 5, channels: int = 3) -> np.ndarray:
    """A view ``pictures`` (id, image) of random 8 x 8 pictures; returns their pixels."""
    rng = np.random.default_rng(0)
    shape = (count, 8, 8, channels) if channels > 1 else (count, 8, 8)
    pixels = rng.integers(0, 256, shape)
    rows = [(index, bytearray(png(one))) for index, one in enumerate(pixels)]
    session.createDataFrame(rows, "id INT, image BINARY").createOrReplaceTempView("pictures")
    return pixels


def keras_answers(networks: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(networks / f"{name}.npz") as arrays:
        return dict(arrays)


def rows_of(session: SparkSession, name: str, *inputs: np.ndarray) -> None:
    """A view (id, a, b …) of arrays, one column per input."""
    columns = [[one.tolist() for one in values] for values in inputs]
    rows = list(zip(range(len(inputs[0])), *columns, strict=True))
    names = ["id", *"ab"[: len(inputs)]]
    session.createDataFrame(rows, names).createOrReplaceTempView(name)


def answer(session: SparkSession, sql: str) -> list[Any]:
    """The only column of a query."""
    return query(session, sql).table.column(0).to_pylist()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Registry:
    """One registry with a model of each kind."""
    path = tmp_path_factory.mktemp("registry") / "models.db"
    registry = connect(f"sqlite:///{path}", artifacts="")
    picture = Image(size=(8, 8), scale="unit")
    gray = Image(size=(8, 8), color="grayscale", scale="unit")
    colored: dict[str, Any] = {"preprocess": picture, "labels": COLORS}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "colors": ("image.h5", colored),
        "archive": ("image.keras", colored),
        "slow": ("image.h5", {**colored, "engine": "keras"}),
        "best": ("image.h5", {**colored, "output": "top_k", "top_k": 2}),
        "bright": (
            "gray.h5",
            {"preprocess": gray, "labels": ["dark", "bright"], "threshold": 0.4},
        ),
        "price": ("tabular.h5", {"columns": ["rooms", "area", "age", "floor"]}),
        "segments": ("mask.h5", {"preprocess": picture}),
        "both": ("pair.h5", {"labels": {"species": ["cat", "dog"]}}),
        "mood": ("words.h5", {"labels": ["bad", "good"]}),
        "spam": ("text.keras", {"output": "value"}),
        "bag": ("bag.h5", {}),
        "bag_slow": ("bag.h5", {"engine": "keras"}),
    }
    with ThreadPoolExecutor(2) as pool:
        registering = [
            pool.submit(registry.register, name, networks / file, **facts)
            for name, (file, facts) in wanted.items()
        ]
    for future in registering:
        future.result()
    return registry


@pytest.fixture
def deployed(session: SparkSession, models: Registry) -> SparkSession:
    deploy(session, models)
    return session


@pytest.mark.parametrize(
    ("name", "engine"), [("colors", "openvino"), ("archive", "openvino"), ("slow", "keras")]
)
def test_sql_equals_keras(
    deployed: SparkSession, models: Registry, networks: Path, name: str, engine: str
) -> None:
    expected = keras_answers(networks, "image")
    pixels = np.round(expected["x0"] * 255)
    rows = [(index, bytearray(png(one))) for index, one in enumerate(pixels)]
    deployed.createDataFrame(rows, "id INT, image BINARY").createOrReplaceTempView("pictures")
    scores = answer(deployed, f"SELECT {name}_scores(image) FROM pictures ORDER BY id")
    labels = answer(deployed, f"SELECT {name}(image) FROM pictures ORDER BY id")
    assert models.get(name).engine == engine
    # The network saw x rounded to 1/255; a small network moves by less than that.
    np.testing.assert_allclose(scores, expected["y0"], atol=2e-3)
    assert labels == [COLORS[i] for i in expected["y0"].argmax(axis=1)]


@pytest.mark.parametrize("name", ["tabular", "vector"])
def test_numbers_in_an_array_equal_keras(
    session: SparkSession, sqlite_registry: Registry, networks: Path, name: str
) -> None:
    sqlite_registry.register("m", networks / f"{name}.h5")
    deploy(session, sqlite_registry)
    arrays = keras_answers(networks, name)
    rows_of(session, "t", arrays["x0"])
    got = np.array(answer(session, "SELECT m(a) FROM t ORDER BY id"))
    np.testing.assert_allclose(got.reshape(arrays["y0"].shape), arrays["y0"], rtol=1e-4, atol=1e-4)


def test_scalar_columns_are_taken_by_position_and_by_name(
    deployed: SparkSession, networks: Path
) -> None:
    arrays = keras_answers(networks, "tabular")
    rows = [tuple(float(v) for v in row) for row in arrays["x0"]]
    deployed.createDataFrame(rows, "w DOUBLE, x FLOAT, y DOUBLE, z DOUBLE").createOrReplaceTempView(
        "homes"
    )
    by_position = answer(deployed, "SELECT price(w, x, y, z) FROM homes")
    by_name = answer(
        deployed, "SELECT price(floor => z, Age => y, rooms => w, area => x) FROM homes"
    )
    as_array = answer(deployed, "SELECT price(array(w, x, y, z)) FROM homes")
    np.testing.assert_allclose(by_position, arrays["y0"][:, 0], rtol=1e-4, atol=1e-4)
    assert by_name == by_position == as_array


def test_scalar_columns_of_any_numeric_type_are_cast(deployed: SparkSession) -> None:
    mixed = answer(
        deployed, "SELECT price(CAST(3 AS TINYINT), CAST(2.5 AS DECIMAL(9, 2)), 7L, true)"
    )
    assert mixed == answer(deployed, "SELECT price(3.0D, 2.5D, 7.0D, 1.0D)")


def test_an_array_of_the_wrong_length_is_a_bad_row(deployed: SparkSession) -> None:
    tried = answer(deployed, "SELECT try_price(a) FROM VALUES (array(1, 2)), (array(3, 4)) AS t(a)")
    assert [one["value"] for one in tried] == [None, None]
    assert {one["error"] for one in tried} == {"4 numbers are expected, 2 were given"}


def test_a_misspelt_column_name_lists_the_columns(deployed: SparkSession) -> None:
    with pytest.raises(InvalidQuery, match="no argument 'room'; there is 'rooms', 'area'"):
        query(deployed, "SELECT price(room => 1)")


def test_a_null_column_is_named(deployed: SparkSession) -> None:
    (tried,) = answer(deployed, "SELECT try_price(1, NULL, CAST(NULL AS INT), 4)")
    assert tried["value"] is None
    assert tried["error"] == "area is NULL"


def test_several_inputs_and_outputs_are_ordered_as_the_signature_says(
    deployed: SparkSession, networks: Path
) -> None:
    arrays = keras_answers(networks, "pair")
    rows_of(deployed, "t", arrays["x0"], arrays["x1"])
    by_position = answer(deployed, "SELECT both(a, b) FROM t ORDER BY id")
    by_name = answer(deployed, "SELECT both(ahead => b, left => a) FROM t ORDER BY id")
    scores = answer(deployed, "SELECT both_scores(a, b) FROM t ORDER BY id")
    assert by_position == by_name
    np.testing.assert_allclose([one["age"] for one in by_name], arrays["y1"][:, 0], rtol=1e-4)
    np.testing.assert_allclose([one["species"] for one in scores], arrays["y0"], rtol=1e-4)
    winners = arrays["y0"].argmax(axis=1)
    assert [one["species"] for one in by_name] == [["cat", "dog"][winner] for winner in winners]


def test_rows_of_different_lengths_are_answered_each_as_keras_does(
    deployed: SparkSession, models: Registry, networks: Path
) -> None:
    arrays = keras_answers(networks, "words")
    rows = [(index, row.tolist()) for index, row in enumerate(arrays["x0"])]
    rows.insert(3, (99, [1, 2]))
    deployed.createDataFrame(rows, "id INT, ids ARRAY<INT>").createOrReplaceTempView("texts")
    scores = answer(deployed, "SELECT mood_scores(ids) FROM texts WHERE id < 99 ORDER BY id")
    assert models.get("mood").engine == "keras"
    assert "TensorList" in models.get("mood").engine_report["refused"]
    np.testing.assert_allclose(scores, arrays["y0"][:, 0], rtol=1e-4, atol=1e-4)
    assert answer(deployed, "SELECT mood(ids) FROM texts WHERE id = 99") in (["bad"], ["good"])


@pytest.mark.parametrize("name", ["bag", "bag_slow"])
def test_an_id_nobody_knows_costs_its_row_on_both_engines(
    deployed: SparkSession, networks: Path, name: str
) -> None:
    """Keras refuses such a batch; OpenVINO answers with numbers from nowhere."""
    arrays = keras_answers(networks, "bag")
    rows = [(index, row.tolist()) for index, row in enumerate(arrays["x0"])]
    rows += [(98, [1, 2, 10]), (99, [1, -1, 2])]
    deployed.createDataFrame(rows, "id INT, ids ARRAY<INT>").createOrReplaceTempView("bags")
    tried = answer(deployed, f"SELECT try_{name}(ids) FROM bags ORDER BY id")
    assert [one["error"] for one in tried[-2:]] == [
        "the id 10 is not one of 0 … 9",
        "the id -1 is not one of 0 … 9",
    ]
    assert [one["value"] for one in tried[-2:]] == [None, None]
    got = [one["value"] for one in tried[:-2]]
    np.testing.assert_allclose(got, arrays["y0"], rtol=1e-4, atol=1e-4)


def test_a_model_with_its_own_vectorization_takes_strings(
    deployed: SparkSession, networks: Path
) -> None:
    sql = "SELECT spam(text) FROM VALUES (1, 'good good'), (2, 'bad'), (3, '?') AS t(id, text)"
    expected = keras_answers(networks, "text")["y0"][:, 0]
    np.testing.assert_allclose(answer(deployed, sql), expected, rtol=1e-4)


def test_text_becomes_ids_on_the_executor(
    session: SparkSession, sqlite_registry: Registry, networks: Path
) -> None:
    vocabulary = ["", "[UNK]", "good", "bad"]
    sqlite_registry.register(
        "mood",
        networks / "words.h5",
        preprocess=Text(vocabulary, sequence_length=3),
        output="value",
    )
    sqlite_registry.register("ids", networks / "words.h5", output="value")
    deploy(session, sqlite_registry)
    spoken = answer(session, "SELECT mood('Bad, bad thing')")
    assert spoken == answer(session, "SELECT ids(array(3, 3, 1))")


def test_top_k_is_an_array_of_labels_and_scores(deployed: SparkSession) -> None:
    pictures(deployed)
    tops = answer(deployed, "SELECT best(image) FROM pictures ORDER BY id")
    scores = answer(deployed, "SELECT best_scores(image) FROM pictures ORDER BY id")
    for top, row in zip(tops, scores, strict=True):
        order = np.argsort(row)[::-1][:2]
        assert [one["label"] for one in top] == [COLORS[index] for index in order]
        assert [one["score"] for one in top] == [row[index] for index in order]


def test_one_sigmoid_is_a_label_by_its_threshold(deployed: SparkSession) -> None:
    pictures(deployed, count=40, channels=1)
    sql = "SELECT bright(image) AS label, bright_scores(image) AS score FROM pictures"
    rows = query(deployed, sql).table.to_pylist()
    assert {row["label"] for row in rows} == {"dark", "bright"}
    for row in rows:
        assert row["label"] == ("bright" if row["score"] > 0.4 else "dark")


def test_an_output_of_rank_three_is_nested_arrays(deployed: SparkSession) -> None:
    pictures(deployed, count=2)
    result = query(deployed, "SELECT segments(image) AS map FROM pictures")
    maps = np.array(result.table.column("map").to_pylist())
    assert maps.shape == (2, 8, 8, 2)
    kind = deployed.sql("SELECT segments(image) FROM pictures").schema.fields[0].dataType
    assert kind.simpleString() == "array<array<array<float>>>"


def test_bad_rows_are_null_with_a_reason_and_the_others_are_answered(
    deployed: SparkSession,
) -> None:
    rows = [
        (0, bytearray(png(np.zeros((8, 8, 3))))),
        (1, None),
        (2, bytearray(b"no picture")),
        (3, bytearray(b"")),
    ]
    deployed.createDataFrame(rows, "id INT, image BINARY").createOrReplaceTempView("mixed")
    plain = answer(deployed, "SELECT colors(image) FROM mixed ORDER BY id")
    tried = answer(deployed, "SELECT try_colors(image) FROM mixed ORDER BY id")
    assert [label is None for label in plain] == [False, True, True, True]
    assert tried[0] == {"value": plain[0], "error": None}
    assert [one["value"] for one in tried[1:]] == [None] * 3
    assert "NULL" in tried[1]["error"]
    assert "not a picture" in tried[2]["error"]
    assert "zero bytes" in tried[3]["error"]


def test_spark_image_structs_equal_the_encoded_picture(
    deployed: SparkSession, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8, 3))
    (tmp_path / "one.png").write_bytes(png(pixels))
    deployed.read.format("image").load(str(tmp_path)).createOrReplaceTempView("structs")
    deployed.read.format("binaryFile").load(str(tmp_path)).createOrReplaceTempView("files")
    struct = answer(deployed, "SELECT colors_scores(image) FROM structs")
    assert struct == answer(deployed, "SELECT colors_scores(content) FROM files")


def test_vectors_of_spark_ml_are_taken_dense_and_sparse(deployed: SparkSession) -> None:
    from pyspark.ml.linalg import Vectors

    rows = [(Vectors.dense([0.0, 2.0, 0.0, 1.0]),), (Vectors.sparse(4, [1, 3], [2.0, 1.0]),)]
    deployed.createDataFrame(rows, ["v"]).createOrReplaceTempView("vectors")
    dense, sparse = answer(deployed, "SELECT price(v) FROM vectors")
    assert [dense] == [sparse] == answer(deployed, "SELECT price(0, 2, 0, 1)")


def test_paths_are_read_only_where_the_operator_allows_it(
    session: SparkSession, models: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.png").write_bytes(png(np.full((8, 8, 3), 200)))
    monkeypatch.setenv("KERASQL_READ_PATHS", "on")
    deploy(session, models)
    sql = f"SELECT try_colors(path) FROM VALUES ('{tmp_path}/one.png'), ('/no/such') AS t(path)"
    read, missing = answer(session, sql)
    assert read["value"] in COLORS
    assert "'/no/such' cannot be read" in missing["error"]


def test_a_python_function_runs_from_its_source_text(
    session: SparkSession, sqlite_registry: Registry, networks: Path
) -> None:
    source = "import numpy\n\ndef halves(value):\n    return numpy.asarray(value) / 2\n"
    sqlite_registry.register(
        "halved", networks / "vector.h5", preprocess=Code(source, "halves"), trust_code=True
    )
    sqlite_registry.register("plain", networks / "vector.h5", preprocess=Tensor())
    deploy(session, sqlite_registry)
    halved = answer(session, "SELECT halved(array(2, 4, 6, 8))")
    assert halved == answer(session, "SELECT plain(array(1, 2, 3, 4))")


def test_a_version_is_called_by_number_and_by_alias(
    session: SparkSession, sqlite_registry: Registry, networks: Path
) -> None:
    sqlite_registry.register("m", networks / "tabular.h5")
    sqlite_registry.register("m", networks / "tabular.h5", preprocess=Tensor(scale=10.0))
    sqlite_registry.set_alias("m", 2, "challenger")
    deploy(session, sqlite_registry)
    sql = "SELECT m({0}), m_v1({0}), m_v2({0}), m_challenger({0}), try_m_v2({0})"
    row = query(session, sql.format("array(1, 2, 3, 4)")).table.to_pylist()[0]
    first, by_one, by_two, challenger, tried = row.values()
    assert first == by_one
    assert by_two == challenger == tried["value"] != first


def test_a_moved_alias_changes_the_next_query_but_not_a_running_one(
    session: SparkSession, sqlite_registry: Registry, networks: Path
) -> None:
    sqlite_registry.register("m", networks / "tabular.h5")
    sqlite_registry.register("m", networks / "tabular.h5", preprocess=Tensor(scale=10.0))
    deploy(session, sqlite_registry)
    sql = "SELECT m(array(1, 2, 3, 4)) AS answer"
    running = session.sql(sql)
    before = answer(session, sql)
    sqlite_registry.set_alias("m", 2, "production")
    assert answer(session, sql) == answer(session, "SELECT m_v2(array(1, 2, 3, 4))") != before
    assert [row["answer"] for row in running.collect()] == before


def test_a_call_that_does_not_fit_moves_no_artifact(
    session: SparkSession, sqlite_registry: Registry, networks: Path
) -> None:
    version = sqlite_registry.register("m", networks / "mask.h5")
    deploy(session, sqlite_registry)
    with pytest.raises(InvalidQuery, match="m: the argument 'input_layer"):
        query(session, "SELECT m('text')")
    moved = _sent.get(session.sparkContext, {})
    assert version.artifacts["golden"].sha256 not in moved


def test_refs_choose_what_is_deployed(session: SparkSession, models: Registry) -> None:
    deployment = deploy(session, models, refs=["colors@1", "price"])
    assert set(deployment.functions) == {
        *("colors_v1", "try_colors_v1", "colors_v1_scores", "try_colors_v1_scores"),
        *("price", "try_price", "price_v1", "try_price_v1"),
    }


@pytest.mark.parametrize("ref", ["nobody", "colors@7", "colors@challenger"])
def test_an_unknown_ref_says_what_exists(session: SparkSession, models: Registry, ref: str) -> None:
    with pytest.raises(NotFound, match="there is .*colors"):
        deploy(session, models, refs=[ref])


def test_many_rows_in_many_batches_keep_their_order(deployed: SparkSession, networks: Path) -> None:
    count = 10_000
    sql = f"""SELECT id, price(id % 7, id % 5, id % 3, 1) AS answer
              FROM range(0, {count}, 1, 3)"""
    rows = query(deployed, sql, limit=None).table
    by_key: dict[tuple[int, int, int], float] = {}
    for number, one in zip(rows["id"].to_pylist(), rows["answer"].to_pylist(), strict=True):
        key = (number % 7, number % 5, number % 3)
        assert by_key.setdefault(key, one) == pytest.approx(one, rel=1e-4, abs=1e-5)
    assert rows.num_rows == count
    assert len(by_key) == 7 * 5 * 3
    assert len({round(value, 3) for value in by_key.values()}) > 50


def test_describe_function_says_which_model_answers(deployed: SparkSession) -> None:
    said = " ".join(row[0] for row in deployed.sql("DESCRIBE FUNCTION EXTENDED colors").collect())
    assert "colors@production" in said


def test_functions_of_one_session_are_not_seen_by_another(
    deployed: SparkSession, spark: SparkSession
) -> None:
    other = spark.newSession()
    assert not other.catalog.functionExists("colors")
    assert deployed.catalog.functionExists("colors")
