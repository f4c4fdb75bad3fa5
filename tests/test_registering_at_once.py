"""Twenty processes register versions of one model at once, Keras and all."""

from __future__ import annotations

from pathlib import Path

from benchmarks.registering import PROCESSES, register_at_once

from kerasql.registry.check import check
from kerasql.registry.database import upgrade
from kerasql.registry.store import connect


def test_every_process_gets_a_number_of_its_own_and_no_version_is_lost(
    database_url: str, networks: Path
) -> None:
    upgrade(database_url)
    numbers = register_at_once(database_url, networks / "vector.h5")
    assert sorted(numbers) == list(range(1, PROCESSES + 1))
    with connect(database_url, artifacts="") as registry:
        kept = registry.versions("m")
        assert [version.number for version in kept] == sorted(numbers)
    assert check(database_url).broken == ()
