"""Models, versions, aliases and datasets in a registry, on both databases and at a server."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deposits import EXAMINED, LABEL, SCORES, SIGNATURE, behind, deposit, random_file
from sqlalchemy import event

from kerasql.registry.check import Check, check
from kerasql.registry.errors import InUse, InvalidInput, NameTaken, NotFound
from kerasql.registry.names import function_names
from kerasql.registry.store import Registry, connect


@pytest.fixture
def registry(any_registry: Registry) -> Registry:
    """On both databases, and at a server."""
    return any_registry


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return random_file(tmp_path / "m.h5")


def test_a_version_comes_back_as_it_was_saved(registry: Registry, tmp_path: Path) -> None:
    files = {
        "model": random_file(tmp_path / "m.h5", 5_000),
        "golden": random_file(tmp_path / "g.npz", 70),
        "openvino.bin": tmp_path / "empty.bin",
    }
    files["openvino.bin"].touch()
    saved = deposit(
        registry,
        "Flowers",
        files["model"],
        files=files,
        outputs={"b": LABEL, "a": SCORES},
        preprocess={"right": {"kind": "image"}, "left": {"kind": "tensor"}},
        columns=("Größe", "age"),
        description="Two 🌷 flowers",
        tags=("vision", "demo"),
        owner="ada",
        metrics={"accuracy": 0.98, "loss": 1},
    )
    found = registry.get("flowers@1")
    assert found == saved
    assert found.ref == "flowers@1"
    assert found.aliases == ("production",)
    assert found.signature == SIGNATURE
    assert list(found.outputs.items()) == [("b", LABEL), ("a", SCORES)]
    assert list(found.preprocess) == ["right", "left"]
    assert found.columns == ("Größe", "age")
    assert found.description == "Two 🌷 flowers"
    assert found.tags == ("vision", "demo")
    assert found.metrics == {"accuracy": 0.98, "loss": 1.0}
    assert found.parameters == EXAMINED.parameters
    assert found.layers == EXAMINED.layers
    assert found.engine_report == EXAMINED.engine_report
    assert found.has_scores
    assert datetime.now(UTC) - found.created_at < timedelta(minutes=1)
    assert found.created_at.tzinfo is UTC
    assert set(found.artifacts) == set(files)
    for role, path in files.items():
        assert registry.read_artifact(found, role) == path.read_bytes()


def test_a_version_is_plain_json(registry: Registry, model: Path) -> None:
    version = json.loads(json.dumps(deposit(registry, "m", model).to_json()))
    assert version["ref"] == "m@1"
    assert version["outputs"]["scores"]["labels"] == ["daisy", "tulip"]
    assert version["artifacts"]["model"]["size_bytes"] == 1000
    assert json.dumps(registry.models()[0].to_json())


def test_the_first_version_becomes_production_and_later_ones_do_not(
    registry: Registry, model: Path
) -> None:
    assert deposit(registry, "m", model).aliases == ("production",)
    assert deposit(registry, "m", model, columns=("other",)).aliases == ()
    assert registry.get("m").number == 1


def test_the_same_deposit_again_is_the_version_that_exists(registry: Registry, model: Path) -> None:
    first = deposit(registry, "m", model, description="first")
    again = deposit(registry, "m", model, description="again")
    assert not first.existed
    assert again.existed
    assert (again.number, again.description) == (1, "first")
    assert len(registry.versions("m")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": {"image": {"kind": "image", "size": [96, 96]}}},
        {"outputs": {"scores": SCORES}},
        {"columns": ["a", "b"]},
    ],
)
def test_another_deposit_of_the_same_bytes_is_another_version(
    registry: Registry, model: Path, change: dict[str, object]
) -> None:
    deposit(registry, "m", model)
    assert deposit(registry, "m", model, **change).number == 2
    assert check_of(registry).artifacts == 1


def check_of(registry: Registry) -> Check:
    return check(behind(registry)._engine.url.render_as_string(hide_password=False))


def test_the_alias_moves_to_the_new_version(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    deposit(registry, "m", model, columns=("other",))
    moved = registry.set_alias("M", 2, "Production", by="ada")
    assert moved.aliases == ("production",)
    assert registry.get("m").number == 2
    assert registry.get("m@1").aliases == ()


def test_a_version_has_several_aliases(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    assert registry.set_alias("m", 1, "best").aliases == ("best", "production")
    assert registry.models()[0].aliases == {"production": 1, "best": 1}


def test_production_can_be_removed_and_the_version_stays(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    assert registry.remove_alias("m", "production").aliases == ()
    with pytest.raises(NotFound, match="no version 'm@production'; there is 'm@1'"):
        registry.get("m")


def test_models_show_their_latest_version(registry: Registry, model: Path) -> None:
    deposit(registry, "b", model, description="old")
    deposit(registry, "b", model, description="new", columns=("other",))
    deposit(registry, "a", model)
    first, second = registry.models()
    assert (first.name, second.name) == ("a", "b")
    assert (second.description, second.latest, second.versions) == ("new", 2, 2)


def test_the_catalog_has_what_deploying_needs(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    deposit(registry, "m", model, outputs={"scores": SCORES})
    registry.set_alias("m", 2, "new")
    assert registry.catalog() == [("m", {"production": 1, "new": 2}, [(1, True), (2, False)])]


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        ("n", "no model 'n'; there is 'm'"),
        ("n@1", "no model 'n'; there is 'm'"),
        ("m@7", "no version 'm@7'; there is 'm@production', 'm@2' and 'm@1'"),
        ("m@new", "no version 'm@new'; there is 'm@production', 'm@2' and 'm@1'"),
    ],
)
def test_an_unknown_ref_says_what_there_is(
    registry: Registry, model: Path, ref: str, sentence: str
) -> None:
    deposit(registry, "m", model)
    deposit(registry, "m", model, columns=("other",))
    with pytest.raises(NotFound, match=sentence):
        registry.get(ref)


def test_an_empty_registry_says_how_to_begin(registry: Registry) -> None:
    with pytest.raises(NotFound, match="no model 'm'; register one with: kerasql register"):
        registry.versions("m")
    with pytest.raises(NotFound, match="no dataset 'd'; add one with: kerasql dataset add"):
        registry.dataset("d")


def test_an_alias_needs_a_version_that_exists(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    with pytest.raises(NotFound, match="no version 'm@2'"):
        registry.set_alias("m", 2, "new")
    with pytest.raises(NotFound, match="no model 'n'"):
        registry.set_alias("n", 1, "new")
    with pytest.raises(NotFound, match="no version 'm@new'"):
        registry.remove_alias("m", "new")
    with pytest.raises(NotFound, match="no version 'm@1'"):
        registry.remove_alias("m", "1")


def test_a_version_in_use_is_not_deleted(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    registry.set_alias("m", 1, "best")
    with pytest.raises(InUse, match="m@1 is what the alias 'best' and 'production' points to"):
        registry.delete("m@1")
    assert registry.get("m@1").number == 1


@pytest.mark.parametrize("ref", ["m", "m@production"])
def test_only_a_number_is_deleted(registry: Registry, model: Path, ref: str) -> None:
    deposit(registry, "m", model)
    with pytest.raises(InvalidInput, match="delete m@<number>"):
        registry.delete(ref)


def test_a_number_is_never_given_again(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    deposit(registry, "m", model, columns=("second",))
    registry.delete("m@2")
    assert deposit(registry, "m", model, columns=("second",)).number == 3


def test_a_model_whose_last_version_is_deleted_is_gone_but_counts_on(
    registry: Registry, model: Path
) -> None:
    deposit(registry, "m", model)
    registry.remove_alias("m", "production")
    registry.delete("m@1")
    assert registry.models() == []
    assert registry.catalog() == []
    with pytest.raises(NotFound, match="no model 'm'; register one"):
        registry.get("m@1")
    again = deposit(registry, "m", model)
    assert (again.number, again.aliases) == (2, ("production",))


def test_deleting_collects_the_artifacts_that_nobody_else_refers_to(
    registry: Registry, tmp_path: Path, model: Path
) -> None:
    own = random_file(tmp_path / "own.h5", 5_000)
    deposit(registry, "m", model)
    deposit(registry, "m", own, files={"model": own, "golden": model})
    assert check_of(registry).artifacts == 2
    registry.delete("m@2")
    assert check_of(registry).artifacts == 1
    assert registry.read_artifact("m@1", "model") == model.read_bytes()


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"metrics": {"loss": float("nan")}}, "the metric 'loss' is nan; give a finite number"),
        ({"metrics": {"loss": "low"}}, "the metric 'loss' is 'low'; give a finite number"),
        ({"description": "a\0b"}, "no text that can be kept"),
        ({"tags": ["\ud800"]}, "no text that can be kept"),
    ],
)
def test_facts_that_no_database_keeps_are_refused_at_once(
    registry: Registry, model: Path, facts: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        deposit(registry, "m", model, **facts)
    assert registry.models() == []


def test_an_unknown_artifact_says_what_the_version_has(registry: Registry, model: Path) -> None:
    version = deposit(registry, "m", model)
    with pytest.raises(NotFound, match="no artifact of m@1 'golden'; there is 'model'"):
        registry.open_artifact(version, "golden")


def test_a_registry_does_not_travel_to_executors(registry: Registry) -> None:
    with pytest.raises(TypeError, match="stays on the driver"):
        pickle.dumps(registry)


def test_the_password_is_never_shown(registry: Registry) -> None:
    assert ":@" not in registry.url
    assert registry.url in repr(registry)


def test_an_sqlite_registry_survives_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with connect("sqlite:///models.db", artifacts="") as registry:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        registry._engine.dispose()
        deposit(registry, "m", model)
    assert (tmp_path / "models.db").exists()


def test_a_dataset_is_a_name_for_a_folder(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    added = registry.add_dataset("Images", "photos", description="Photos", owner="ada")
    assert added == registry.dataset("images") == registry.datasets()[0]
    assert (added.name, added.format, added.path) == ("images", "images", f"{tmp_path}/photos")


def test_a_dataset_may_be_a_url_or_a_pattern_with_options(
    registry: Registry, tmp_path: Path
) -> None:
    random_file(tmp_path / "a.csv")
    registry.add_dataset("remote", "s3a://bucket/table", format="parquet")
    registry.add_dataset("local", f"{tmp_path}/*.csv", format="csv", options={"header": "true"})
    assert registry.dataset("remote").path == "s3a://bucket/table"
    assert registry.dataset("local").options == {"header": "true"}


def test_a_dataset_must_exist_and_be_named_once(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is nothing at /no/such/folder"):
        registry.add_dataset("images", "/no/such/folder")
    registry.add_dataset("images", tmp_path)
    with pytest.raises(NameTaken, match=f"the one at {tmp_path} .replace=True replaces it"):
        registry.add_dataset("images", tmp_path, description="new")
    assert registry.add_dataset("images", tmp_path, description="new", replace=True).description
    registry.remove_dataset("images")
    with pytest.raises(NotFound, match="no dataset 'images'"):
        registry.remove_dataset("images")


def test_reading_one_version_is_one_query(database: Registry, model: Path) -> None:
    deposit(database, "m", model)
    queries = []
    event.listen(database._engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    database.get("m")
    database.get("m@1")
    assert len([query for query in queries if query.startswith("SELECT")]) == 2


def test_a_hundred_models_of_three_versions_are_listed_in_one_query(
    database: Registry, model: Path
) -> None:
    for index in range(100):
        for column in ("a", "b", "c"):
            deposit(database, f"m{index}", model, columns=(column,))
    queries = []
    event.listen(database._engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    catalog = database.catalog()
    assert [len(versions) for _, _, versions in catalog] == [3] * 100
    assert len([query for query in queries if query.startswith("SELECT")]) == 1


def test_functions_are_those_of_now_whoever_changed_them(database: Registry, model: Path) -> None:
    other = Registry(database._engine)

    def seen() -> dict[str, set[str]]:
        known = {name: set(functions) for name, functions in database.functions().items()}
        assert known == {
            name: set(function_names(name, aliases, versions))
            for name, aliases, versions in database.catalog()
        }
        return known

    assert seen() == {}
    deposit(other, "m", model)
    assert {"m", "try_m", "m_v1", "try_m_v1"} <= seen()["m"]
    deposit(other, "m", model, columns=("other",))
    assert "m_v2" in seen()["m"]
    other.set_alias("m", 2, "new")
    assert "m_new" in seen()["m"]
    other.remove_alias("m", "new")
    assert "m_new" not in seen()["m"]
    other.delete("m@2")
    assert "m_v2" not in seen()["m"]
    deposit(other, "m", model, columns=("other",))
    assert {"m_v1", "m_v2", "m_v3"} & seen()["m"] == {"m_v1", "m_v3"}
    before = database.functions()
    assert database.functions() is before


def test_checking_counts_what_there_is(registry: Registry, model: Path) -> None:
    deposit(registry, "m", model)
    deposit(registry, "n", model)
    found = check_of(registry)
    assert (found.models, found.versions, found.artifacts, found.size_bytes) == (2, 2, 1, 1000)
    assert found.up_to_date
