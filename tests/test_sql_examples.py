"""Every file of sql_examples runs on real photos and tables and gives Keras' own numbers.

Run as ``python tests/test_sql_examples.py FOLDER DATA`` this file is the child process that trains
the models and writes down what Keras answers: TensorFlow stays out of the test run.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from kerasql.registry.store import Registry

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "sql_examples").glob("*.sql"))
FLOWERS = ["daisy", "tulips"]
SURE = 0.6
PHOTOGRAPHERS = ("Ada", "Ben", "Cleo")
CAPTIONS = ("Product: cut flowers", "Sent in by a customer", "Product: seeds", "Our garden")
COLUMNS = [
    "credit_score", "male", "age", "tenure", "balance", "products", "has_card", "is_active",
    "salary", "france", "germany", "spain",
]  # fmt: skip

Rows = list[dict[str, Any]]


# --- the child process: models, and what Keras says


def make(folder: Path, data: Path) -> None:
    """Train and save the models, and write answers.json: what Keras predicts for all inputs."""
    import keras

    keras.utils.set_random_seed(3)
    weights = str(data / "pretrained" / "mobilenet_v1_0.25_224_imagenet.h5")
    imagenet = keras.applications.MobileNet(alpha=0.25, weights=weights)
    imagenet.save(folder / "imagenet.h5")
    answers = {
        "flowers": flower_answers(imagenet, folder, data),
        "buses": bus_answers(imagenet, data),
        "unreadable": unreadable(data / "images" / "odd"),
        "churn": churn_answers(folder, data),
        "topics": topic_answers(folder, data),
        "milling": milling_answers(data),
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def pixels(paths: list[Path]) -> Any:
    import keras
    import numpy as np

    pictures = [
        keras.utils.load_img(path, target_size=(224, 224), interpolation="bilinear")
        for path in paths
    ]
    stacked = np.stack([keras.utils.img_to_array(picture) for picture in pictures])
    return keras.applications.mobilenet.preprocess_input(stacked)


def flower_answers(imagenet: Any, folder: Path, data: Path) -> dict[str, Any]:
    """Two classifiers on MobileNet's features, the second trained on more; both on the others."""
    import keras
    import numpy as np

    photos = sorted((data / "images" / "flowers").glob("*/*"))
    is_tulip = np.array([photo.parent.name == "tulips" for photo in photos], int)
    features = keras.Model(imagenet.input, imagenet.get_layer("global_average_pooling2d").output)
    vectors = features.predict(pixels(photos), verbose=0)
    scores = {}
    for number, (every, epochs) in enumerate([(10, 40), (2, 90)], 1):
        keras.utils.set_random_seed(number)
        shape = vectors.shape[1:]
        head = keras.Sequential(
            [
                keras.Input(shape),
                keras.layers.Flatten(),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        head.compile("adam", "sparse_categorical_crossentropy")
        head.fit(vectors[::every], is_tulip[::every], epochs=epochs, verbose=0)
        keras.Model(features.input, head(features.output)).save(folder / f"flowers_{number}.h5")
        scores[number] = head.predict(vectors[1::2], verbose=0).tolist()
    return {
        photo.name: {"label": photo.parent.name, "v1": first, "v2": second}
        for photo, first, second in zip(photos[1::2], scores[1], scores[2], strict=True)
    }


def bus_answers(imagenet: Any, data: Path) -> dict[str, Any]:
    classes = imagenet_classes(data)
    photos = sorted((data / "images" / "cars_buses" / "buses").iterdir())
    scores = imagenet.predict(pixels(photos), verbose=0)
    best = (-scores).argsort(axis=1)[:, :5]
    return {
        photo.name: [(classes[at], float(row[at])) for at in top]
        for photo, row, top in zip(photos, scores, best, strict=True)
    }


def unreadable(folder: Path) -> list[str]:
    """The files that keras.utils.load_img cannot read, bombs included."""
    import warnings

    import keras
    from PIL.Image import DecompressionBombWarning

    bad = []
    for file in sorted(folder.iterdir()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", DecompressionBombWarning)
                keras.utils.load_img(file, target_size=(8, 8))
        except Exception:
            bad.append(file.name)
    return bad


def churn_answers(folder: Path, data: Path) -> dict[str, Any]:
    import keras
    import numpy as np

    model = keras.saving.load_model(data / "h5" / "k3_8_0_churn_mlp.h5", compile=False)
    table = np.array([churn_row(customer) for customer in customers(data)], float)
    mean, std = table.mean(axis=0), table.std(axis=0)
    (scores,) = model.predict((table - mean) / std, batch_size=1000, verbose=0).T
    return {"mean": mean.tolist(), "std": std.tolist(), "scores": scores.tolist()}


def churn_row(customer: dict[str, str]) -> list[float]:
    """The twelve numbers the model was trained on."""
    plain = ("Age", "Tenure", "Balance", "NumOfProducts", "HasCrCard", "IsActiveMember")
    return [
        float(customer["CreditScore"]),
        float(customer["Gender"] == "Male"),
        *(float(customer[name]) for name in (*plain, "EstimatedSalary")),
        *(float(customer["Geography"] == country) for country in ("France", "Germany", "Spain")),
    ]


def topic_answers(folder: Path, data: Path) -> dict[str, Any]:
    """A small network on which words a question has, trained on a chatbot's examples."""
    import keras
    import numpy as np

    asked = questions(data)
    topics = sorted({topic for _, topic in asked})
    texts = keras.ops.convert_to_tensor([question for question, _ in asked])
    words = keras.layers.TextVectorization(output_mode="multi_hot")
    words.adapt(texts)
    counts = np.asarray(words(texts), "float32")
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input(counts.shape[1:], name="words"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(len(topics), activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    truth = np.array([topics.index(topic) for _, topic in asked])
    model.fit(counts, truth, epochs=25, verbose=0)
    model.save(folder / "topic.h5")
    scores = model.predict(counts, verbose=0).tolist()
    return {"vocabulary": words.get_vocabulary(), "topics": topics, "scores": scores}


def milling_answers(data: Path) -> dict[str, Any]:
    import keras
    import numpy as np

    model = keras.saving.load_model(data / "h5" / "k3_10_0_cnc_multi_output.h5", compile=False)
    rng = np.random.default_rng(11)
    readings = rng.normal(0, 2, (60, 10, 18)).astype("float32")
    tool, finished, passed = model.predict(readings, verbose=0)
    return {
        "readings": readings.tolist(),
        "tool": tool.tolist(),
        "finished": finished[:, 0].tolist(),
        "passed": passed[:, 0].tolist(),
    }


# --- the tables, and the registry they are queried in


def imagenet_classes(data: Path) -> list[str]:
    classes = json.loads((data / "pretrained" / "imagenet_class_index.json").read_text())
    return [classes[str(number)][1] for number in range(len(classes))]


def churn_csv(data: Path) -> Path:
    return data / "h5" / "sidecars" / "k3_8_0_churn_mlp" / "Churn_Modelling.csv"


def customers(data: Path) -> list[dict[str, str]]:
    with churn_csv(data).open(newline="") as file:
        return list(csv.DictReader(file))


def questions(data: Path) -> list[tuple[str, str]]:
    file = data / "h5" / "sidecars" / "tf2_2_4_chatbot_bow_mlp" / "intents.json"
    intents = json.loads(file.read_text())["intents"]
    return [(pattern, intent["tag"]) for intent in intents for pattern in intent["patterns"]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The models' files and answers.json, made by the child process."""
    folder = tmp_path_factory.mktemp("examples")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, __file__, folder, data], check=True, env=environment)
    return folder


@pytest.fixture(scope="module")
def keras(models: Path, data: Path) -> dict[str, Any]:
    """What Keras answers, and the facts that the tables hold."""
    answers = json.loads((models / "answers.json").read_text())
    return answers | {"customers": customers(data), "questions": questions(data)}


@pytest.fixture(scope="module")
def analyst(
    spark: SparkSession, models: Path, keras: dict[str, Any], data: Path
) -> Iterator[SparkSession]:
    """A session in which all models and datasets of one registry are deployed."""
    import kerasql

    with kerasql.connect(f"sqlite:///{models}/models.db", artifacts="") as registry:
        write_tables(models, keras, data)
        register_models(registry, models, keras, data)
        add_datasets(registry, models, data)
        session = spark.newSession()
        kerasql.deploy(session, registry)
        yield session


def register_models(registry: Registry, folder: Path, keras: dict[str, Any], data: Path) -> None:
    from kerasql.registry.preprocess import Image, Tensor, Text

    photo = Image(size=(224, 224), scale="tf")
    yes_no = {
        "machining_finalized_output": ["unfinished", "finished"],
        "passed_visual_inspection_output": ["fails", "passes"],
    }

    def flowers() -> None:
        for number in (1, 2):
            file = folder / f"flowers_{number}.h5"
            registry.register("flowers", file, preprocess=photo, labels=FLOWERS)
        registry.set_alias("flowers", 2, "challenger")

    def imagenet() -> None:
        registry.register(
            "imagenet",
            folder / "imagenet.h5",
            preprocess=photo,
            labels=imagenet_classes(data),
            output="top_k",
        )

    def churn() -> None:
        churn = keras["churn"]
        registry.register(
            "churn",
            data / "h5" / "k3_8_0_churn_mlp.h5",
            preprocess=Tensor(mean=churn["mean"], std=churn["std"]),
            columns=COLUMNS,
            labels=["stays", "leaves"],
        )

    def topic() -> None:
        topics = keras["topics"]
        words = Text(vocabulary=topics["vocabulary"], output_mode="multi_hot")
        registry.register("topic", folder / "topic.h5", preprocess=words, labels=topics["topics"])

    def milling() -> None:
        file = data / "h5" / "k3_10_0_cnc_multi_output.h5"
        registry.register("milling", file, labels=yes_no)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(one) for one in (flowers, imagenet, churn, topic, milling)]:
            done.result()


def write_tables(folder: Path, keras: dict[str, Any], data: Path) -> None:
    """The held-out photos in folders of their own, and Parquet and JSON beside them."""
    import pyarrow as pa
    from pyarrow import parquet

    files, labels = list(keras["flowers"]), [one["label"] for one in keras["flowers"].values()]
    sources = [
        data / "images" / "flowers" / label / file
        for file, label in zip(files, labels, strict=True)
    ]
    for source in sources:
        copy = folder / "photos" / source.parent.name / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    notes = {"file": files, "photographer": [photographer(n) for n in range(len(files))]}
    parquet.write_table(pa.table(notes), folder / "notes.parquet")
    pictures = {
        "picture_id": range(len(files)),
        "caption": [caption(number) for number in range(len(files))],
        "image": [source.read_bytes() for source in sources],
    }
    parquet.write_table(
        pa.table({name: list(values) for name, values in pictures.items()}),
        folder / "shop.parquet",
    )
    runs = {"run": list(range(60)), "readings": keras["milling"]["readings"]}
    parquet.write_table(pa.table(runs), folder / "runs.parquet")
    lines = [json.dumps({"question": question}) for question, _ in keras["questions"]]
    (folder / "questions.json").write_text("\n".join(lines))


def photographer(number: int) -> str:
    return PHOTOGRAPHERS[number % len(PHOTOGRAPHERS)]


def caption(number: int) -> str:
    return CAPTIONS[number % len(CAPTIONS)]


def add_datasets(registry: Registry, folder: Path, data: Path) -> None:
    registry.add_dataset("flower_photos", folder / "photos")
    registry.add_dataset("vehicle_photos", data / "images" / "cars_buses")
    registry.add_dataset("odd_pictures", data / "images" / "odd")
    registry.add_dataset("photo_notes", folder / "notes.parquet", format="parquet")
    registry.add_dataset("shop_pictures", folder / "shop.parquet", format="parquet")
    registry.add_dataset("milling_runs", folder / "runs.parquet", format="parquet")
    registry.add_dataset("questions", folder / "questions.json", format="json")
    as_table = {"header": "true", "inferSchema": "true"}
    registry.add_dataset("customers", churn_csv(data), format="csv", options=as_table)


# --- what each file must answer, worked out in Python from Keras' numbers

EXPECTED: dict[str, Callable[[dict[str, Any]], Rows]] = {}


def answer_of(file: str) -> Callable[[Any], Any]:
    """Mark a function of Keras' answers as the rows that a file of sql_examples must give."""

    def mark(function: Callable[[dict[str, Any]], Rows]) -> Callable[[dict[str, Any]], Rows]:
        EXPECTED[file] = function
        return function

    return mark


def read(scores: list[float]) -> str:
    return FLOWERS[scores[1] > scores[0]]


@answer_of("01_count_per_label.sql")
def count_per_label(keras: dict[str, Any]) -> Rows:
    counted = Counter(read(one["v1"]) for one in keras["flowers"].values())
    return [
        {"flower": flower, "photos": count}
        for flower, count in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


@answer_of("02_filter_then_predict.sql")
def filter_then_predict(keras: dict[str, Any]) -> Rows:
    return [
        {"picture_id": n, "caption": caption(n), "flower": read(one["v1"])}
        for n, one in enumerate(keras["flowers"].values())
        if "Product" in caption(n)
    ]


@answer_of("03_join_metadata.sql")
def join_metadata(keras: dict[str, Any]) -> Rows:
    pairs = [(photographer(n), read(one["v1"])) for n, one in enumerate(keras["flowers"].values())]
    return [
        {"photographer": who, "flower": flower, "photos": count}
        for (who, flower), count in sorted(Counter(pairs).items())
    ]


@answer_of("04_accuracy.sql")
def accuracy(keras: dict[str, Any]) -> Rows:
    rows = []
    for truth in (*FLOWERS, "all"):
        photos = [one for one in keras["flowers"].values() if truth in (one["label"], "all")]
        right = sum(read(one["v1"]) == one["label"] for one in photos)
        count = len(photos)
        share = round(right / count, 4)
        rows.append({"truth": truth, "photos": count, "answered": count, "accuracy": share})
    return rows


@answer_of("05_confusion_matrix.sql")
def confusion_matrix(keras: dict[str, Any]) -> Rows:
    counted = Counter((one["label"], read(one["v1"])) for one in keras["flowers"].values())
    return [
        {"truth": truth, **{f"said_{flower}": counted[truth, flower] for flower in FLOWERS}}
        for truth in FLOWERS
    ]


@answer_of("06_two_versions.sql")
def two_versions(keras: dict[str, Any]) -> Rows:
    rows = []
    for file, one in sorted(keras["flowers"].items()):
        old, new, truth = read(one["v1"]), read(one["v2"]), one["label"]
        right = "production" if old == truth else "challenger"
        names = {"file": file, "label": truth, "production": old, "challenger": new}
        rows += [{**names, "right_one": right}] if old != new else []
    return rows


@answer_of("07_unsure.sql")
def unsure(keras: dict[str, Any]) -> Rows:
    unsure = [item for item in keras["flowers"].items() if max(item[1]["v1"]) < SURE]
    return [
        {"file": file, "daisy": one["v1"][0], "tulips": one["v1"][1]}
        for file, one in sorted(unsure, key=lambda item: max(item[1]["v1"]))
    ]


@answer_of("08_top_k.sql")
def top_k(keras: dict[str, Any]) -> Rows:
    found: dict[str, list[float]] = {}
    for best in keras["buses"].values():
        for label, score in best:
            found.setdefault(label, []).append(score)
    counted = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:10]
    return [
        {"guess": label, "photos": len(scores), "average_score": sum(scores) / len(scores)}
        for label, scores in counted
    ]


@answer_of("09_best_three.sql")
def best_three(keras: dict[str, Any]) -> Rows:
    rows = []
    for flower in FLOWERS:
        photos = [
            (max(one["v1"]), file)
            for file, one in keras["flowers"].items()
            if read(one["v1"]) == flower
        ]
        for place, (score, file) in enumerate(sorted(photos, reverse=True)[:3], 1):
            rows.append({"flower": flower, "place": place, "file": file, "score": score})
    return rows


@answer_of("10_unreadable.sql")
def without_answer(keras: dict[str, Any]) -> Rows:
    return [{"file": file, "flower": None} for file in keras["unreadable"]]


@answer_of("11_columns_by_position.sql")
def money_at_risk(keras: dict[str, Any]) -> Rows:
    rows = []
    for customer, score in zip(keras["customers"], keras["churn"]["scores"], strict=True):
        balance = float(customer["Balance"])
        names = {"customer": int(customer["CustomerId"]), "balance": balance}
        rows.append({**names, "leaves": score, "at_risk": balance * score})
    return sorted(rows, key=lambda row: (-row["at_risk"], row["customer"]))[:10]


@answer_of("12_columns_by_name.sql")
def churn_by_country(keras: dict[str, Any]) -> Rows:
    rows = []
    pairs = list(zip(keras["customers"], keras["churn"]["scores"], strict=True))
    for country in ("all", "France", "Germany", "Spain"):
        here = [
            (one["Exited"] == "1", score > 0.5)
            for one, score in pairs
            if country in (one["Geography"], "all")
        ]
        right = sum(left == said for left, said in here)
        rows.append(
            {
                "country": country,
                "customers": len(here),
                "have_left": sum(left for left, _ in here),
                "expected_to_leave": sum(said for _, said in here),
                "accuracy": round(right / len(here), 4),
            }
        )
    return sorted(rows, key=lambda row: (-row["customers"], row["country"]))


@answer_of("13_text.sql")
def topics_of_questions(keras: dict[str, Any]) -> Rows:
    found: dict[str, list[tuple[float, str]]] = {}
    for (question, _), scores in zip(keras["questions"], keras["topics"]["scores"], strict=True):
        topic = keras["topics"]["topics"][scores.index(max(scores))]
        found.setdefault(topic, []).append((max(scores), question))
    return [
        {"topic": topic, "questions": len(asked), "most_typical": max(asked)[1]}
        for topic, asked in sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]


@answer_of("14_several_outputs.sql")
def failing_runs(keras: dict[str, Any]) -> Rows:
    milling = keras["milling"]
    return [
        {
            "run": run,
            "inspection": "fails",
            "machining": "finished" if milling["finished"][run] > 0.5 else "unfinished",
            "tool_score": max(milling["tool"][run]),
        }
        for run, passed in enumerate(milling["passed"])
        if passed <= 0.5
    ]


# --- the tests


def named(file: Path) -> str:
    return file.name


def is_close(value: Any, wanted: Any) -> bool:
    """Scores are shown with three digits; everything that is no float is equal."""
    if isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=1e-4, abs_tol=6e-4)
    return bool(value == wanted)


@pytest.mark.parametrize("file", EXAMPLES, ids=named)
def test_example_begins_with_one_sentence(file: Path) -> None:
    lines = file.read_text().splitlines()
    sentence = ""
    for line in lines:
        if not line.startswith("-- "):
            break
        sentence += line.removeprefix("--")
    assert sentence.endswith("?"), f"{file.name} must begin with the question it answers"
    assert sentence.count("?") == 1


@pytest.mark.parametrize("file", EXAMPLES, ids=named)
def test_example_gives_what_keras_says(
    analyst: SparkSession, keras: dict[str, Any], file: Path
) -> None:
    import kerasql
    from kerasql.cli import query_text

    result = kerasql.query(analyst, query_text(None, file))
    expected = EXPECTED[file.name](keras)
    assert len(expected) > 1, "the data must give something to show"
    assert not result.truncated
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows()]
    if file.name == "10_unreadable.sql":
        assert all(row.pop("reason") for row in rows)
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert all(is_close(row[name], wanted[name]) for name in wanted), (row, wanted)


@pytest.mark.parametrize("file", EXAMPLES, ids=named)
def test_example_shows_each_row_to_a_model_once(analyst: SparkSession, file: Path) -> None:
    plan = analyst.sql(file.read_text())._jdf.queryExecution().optimizedPlan().toString()
    calls = re.findall(r"ArrowEvalPython \[(\w+)\(", plan)
    assert calls, plan
    assert len(calls) == len(set(calls)), plan


def test_every_example_has_an_answer_to_compare_with() -> None:
    assert sorted(EXPECTED) == [file.name for file in EXAMPLES]


def test_churn_is_as_accurate_as_its_author_says(keras: dict[str, Any]) -> None:
    (everyone, *_) = churn_by_country(keras)
    assert everyone["country"] == "all"
    assert everyone["accuracy"] == 0.8645


def test_the_guide_lists_every_example() -> None:
    guide = (ROOT / "docs" / "sql.md").read_text()
    assert [file.name for file in EXAMPLES if file.name not in guide] == []


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
