"""`dbtether retention` on a folder: what it shows, what it asks, what it deletes."""

import asyncio
import os
import pty
import subprocess

import pytest
from tests.backup.test_pruning import backups
from tests.cli.program import PROGRAM, Program, assert_one_sentence, lines

from dbtether.runtime.local import LocalStore
from dbtether.storage.folder import Folder

KEEP = ("retention", "--from", "backups", "--keep-last", "2")


@pytest.fixture
def signed(program: Program) -> bytes:
    """The key of the program's state, beside an empty folder."""
    (program.folder / "backups").mkdir()
    with LocalStore.open(program.state, installation="test") as store:
        return store.fingerprint_key


def fill(program: Program, key: bytes, days: range, database: str = "shop", schedule: str | None = None) -> list[str]:
    store = Folder(program.folder / "backups", "")
    return asyncio.run(backups(store, days, database, key=key, schedule=schedule))


def left(program: Program) -> list[str]:
    folder = program.folder / "backups"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.sql.gz"))


def answered(program: Program, answer: str, *arguments: str) -> tuple[int, str]:
    """Run the command as a person at a terminal, who answers its question."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ended = subprocess.run(
            [str(PROGRAM), *arguments], cwd=program.folder, stdin=theirs, capture_output=True, text=True, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_dry_run_prints_what_stays_and_what_goes_with_the_reasons(program: Program, signed: bytes) -> None:
    names = fill(program, signed, range(1, 5))
    scheduled = fill(program, signed, range(10, 15), schedule="nightly")
    shown = program.run(*KEEP, "--dry-run")
    assert (shown.code, shown.err) == (2, "")
    table = [line.split(maxsplit=4) for line in lines(shown.out)]
    assert table[0] == ["DATABASE", "KEY", "SIZE", "REASON"]
    assert [(row[0], row[2]) for row in table[1:]] == [
        ("keep", names[3]),
        ("keep", names[2]),
        ("delete", names[1]),
        ("delete", names[0]),
    ]
    assert lines(shown.out)[1].endswith("the newest, last 1 of 2")
    assert lines(shown.out)[3].endswith("no rule keeps it")

    told = program.run(*KEEP, "--dry-run", "-o", "json").json["databases"]
    assert [one["key"] for one in told[0]["delete"]] == [names[1], names[0]]
    assert told[0]["keep"][1] == {"key": names[2], "reasons": ["last 2 of 2"]}
    assert left(program) == sorted([*names, *scheduled]), "a dry run deletes nothing"
    assert program.run("retention", "--from", "backups", "--keep-last", "9", "--dry-run").code == 0


def test_yes_deletes_and_nothing_is_left_to_do(program: Program, signed: bytes) -> None:
    names = fill(program, signed, range(1, 5))
    ran = program.run(*KEEP, "--yes")
    assert ran.code == 0, ran.err
    assert lines(ran.out)[-1] == "2 backups deleted"
    assert left(program) == names[2:]
    again = program.run(*KEEP, "--yes", "-o", "json")
    assert (again.code, again.json["deleted"]) == (0, [])


def test_at_a_terminal_it_shows_asks_and_obeys_the_answer(program: Program, signed: bytes) -> None:
    names = fill(program, signed, range(1, 5))
    code, told = answered(program, "n", *KEEP)
    assert code == 1
    assert "Delete 2 backups from file://" in told
    assert "not confirmed; nothing was deleted" in told
    assert left(program) == names
    code, told = answered(program, "y", *KEEP)
    assert code == 0, told
    assert left(program) == names[2:]


def test_most_of_many_go_only_after_a_person_s_answer(program: Program, signed: bytes) -> None:
    fill(program, signed, range(1, 14))
    refused = program.run(*KEEP, "--yes")
    assert refused.code == 1
    assert "pg/shop: 11 of 13 backups would go at once" in refused.err
    assert len(left(program)) == 13
    assert program.run(*KEEP, "--dry-run").code == 1
    code, told = answered(program, "yes", *KEEP)
    assert code == 0, told
    assert "more than half of the backups of pg/shop" in told
    assert len(left(program)) == 2


def test_each_database_and_each_schedule_is_judged_by_itself(program: Program, signed: bytes) -> None:
    shop, other = fill(program, signed, range(1, 5)), fill(program, signed, range(1, 5), "shop2")
    scheduled = fill(program, signed, range(10, 14), schedule="nightly")
    assert program.run(*KEEP, "--yes", "shop2").code == 0
    assert left(program) == sorted([*shop, *other[2:], *scheduled])
    assert program.run(*KEEP, "--yes", "--schedule", "team/nightly").code == 0
    assert left(program) == sorted([*shop, *other[2:], *scheduled[2:]])
    assert program.run(*KEEP, "--yes").code == 0
    assert left(program) == sorted([*shop[2:], *other[2:], *scheduled[2:]])


def test_what_this_state_did_not_sign_stays_unless_a_person_insists(program: Program, signed: bytes) -> None:
    names = fill(program, b"somebody else's".ljust(32), range(1, 5))
    ran = program.run(*KEEP, "--yes")
    assert ran.code == 0
    assert "4 backups of which the key in .dbtether cannot tell who wrote them stay as they are" in ran.err
    assert left(program) == names
    assert program.run(*KEEP, "--yes", "--any-signature").code == 0
    assert left(program) == names[2:]
    assert signed


def test_a_store_that_refuses_to_delete_is_told_and_the_rest_goes_next_time(program: Program, signed: bytes) -> None:
    names = fill(program, signed, range(1, 5))
    blocked = program.folder / "backups" / names[1]
    blocked.unlink()
    blocked.mkdir()
    (blocked / "x").write_text("a folder where the object should be")
    ran = program.run(*KEEP, "--yes")
    assert ran.code == 1
    assert f"{names[1]}: the store refused the request" in ran.err
    assert "what is left goes next time" in ran.err
    assert lines(ran.out)[-1] == "1 backup deleted", "one that may not go keeps no other"
    assert left(program) == names[1:]
    assert (blocked / "x").exists()


REFUSED = {
    "nothing to keep": (("--from", "backups", "--dry-run"), 3, "say what is to be kept: --keep-last"),
    "no such zone": (("--from", "b", "--keep-last", "1", "--time-zone", "Mars"), 3, "--time-zone 'Mars' is not"),
    "nobody to ask": (("--from", "backups", "--keep-last", "1"), 3, "give --dry-run to look only, or --yes"),
    "no such folder": (("--from", "nowhere", "--keep-last", "1", "--yes"), 1, "there is no folder nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_gets_one_sentence(program: Program, case: str) -> None:
    arguments, code, told = REFUSED[case]
    ran = program.run("retention", *arguments)
    assert ran.code == code
    assert told in ran.err
    assert_one_sentence(ran)
