"""Names and comments beside a database: nobody's else are taken for them, and what was written is read again."""

from datetime import UTC, datetime

import pytest

from dbtether.api.names import marker
from dbtether.postgres.restores.model import (
    Completed,
    Replaced,
    Restores,
    Staging,
    record_comment,
    record_in,
    replaced_comment,
    replaced_in,
    replaced_name,
    run_beside,
    staging_comment,
    staging_in,
    staging_name,
)

MARKER = marker("team", "app", "test")
UNTIL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("database", ["app", "a" * 63, "grüße" * 11, "app__before_0a1b2c3d"])
@pytest.mark.parametrize("name", [staging_name, replaced_name])
def test_a_name_fits_and_tells_its_run(database: str, name: object) -> None:
    assert callable(name)
    found = name(database, "0a1b2c3d")
    assert len(found.encode()) <= 63
    assert found.endswith("_0a1b2c3d")
    assert run_beside(database, found) == "0a1b2c3d"


@pytest.mark.parametrize("name", ["app", "app__restore_", "app2__restore_0a1b2c3d", "app__restore_0a1b2c3d_", "app__x"])
def test_another_databases_name_is_not_taken_for_one_beside(name: str) -> None:
    assert run_beside("app", name) is None


@pytest.mark.parametrize("swapping", [False, True])
def test_comments_are_read_as_they_were_written(swapping: bool) -> None:
    staging = staging_comment(MARKER, "0a1b2c3d", is_swapping=swapping)
    assert staging_in("s", staging) == Staging("s", "0a1b2c3d", MARKER, swapping)
    replaced = replaced_comment(MARKER, "0a1b2c3d", UNTIL, is_swapping=swapping)
    assert replaced_in("r", replaced) == Replaced("r", "0a1b2c3d", UNTIL, MARKER, swapping)
    assert staging_in("s", replaced) is None
    assert replaced_in("r", staging) is None


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "dbtether:team/app@test",
        "dbtether-replaced: team/app@test run x",
        "dbtether-replaced: team/app@test run x until soon",
        "dbtether-replaced: team run x until 2026-01-02T03:04:05Z",
        "people's dbtether-replaced: team/app@test run x until 2026-01-02T03:04:05Z",
    ],
)
def test_what_is_no_such_comment_is_not_taken_for_one(comment: str | None) -> None:
    assert replaced_in("r", comment) is None
    assert staging_in("r", comment) is None
    assert record_in(comment) == ()


def test_the_record_keeps_the_newest_fifty_and_each_hash_once() -> None:
    comment = None
    for number in range(60):
        comment = record_comment(record_in(comment), Completed(f"{number:064x}", f"{number:08x}"))
    comment = record_comment(record_in(comment), Completed(f"{20:064x}", "ffffffff"))
    found = Restores(record=record_in(comment))
    assert len(found.record) == 50
    assert found.run_of(f"{20:064x}") == "ffffffff"
    assert found.run_of(f"{59:064x}") == f"{59:08x}"
    assert found.run_of(f"{9:064x}") is None
