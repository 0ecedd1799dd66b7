"""The state directory: who may use it, what it holds, what happens when something in it is wrong."""

import asyncio
import os
import re
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.store_conformance import CLUSTER, DATABASE, SECRET

from dbtether.api.resource import Key
from dbtether.errors import StateError
from dbtether.runtime.local import LocalStore, StateMissing
from dbtether.runtime.store import EventType


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def fill(state: Path) -> None:
    """Put a cluster, a database with status and finalizer, a Secret and an Event in the directory."""

    async def main() -> None:
        with LocalStore.open(state) as store:
            await store.apply_resource(CLUSTER, {"endpoint": "localhost"})
            database = await store.apply_resource(DATABASE, {"clusterRef": {"name": "main"}})
            held = await store.write_finalizers(database, ("dbtether.io/finalizer",))
            assert held
            await store.write_status(held, {"phase": "Ready"})
            await store.write_secret(SECRET)
            await store.record_event(database, EventType.NORMAL, "Created", "the database was made")

    asyncio.run(main())


def database_file(state: Path) -> Path:
    return state / "resources" / "Database" / "default" / "my-app.yaml"


def secret_file(state: Path) -> Path:
    return state / "secrets" / "default" / "my-app-credentials.yaml"


def test_the_layout_is_the_documented_one(state: Path) -> None:
    fill(state)
    assert sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()) == [
        ".gitignore",
        "events.jsonl",
        "fingerprint.key",
        "installation",
        "lock",
        "resources/DBCluster/_cluster/main.yaml",
        "resources/Database/default/my-app.yaml",
        "secrets/default/my-app-credentials.yaml",
    ]
    assert (state / ".gitignore").read_text() == "*\n"


def test_everything_is_read_back_by_the_next_process(state: Path) -> None:
    fill(state)

    async def main() -> None:
        for read_only in (False, True):
            with LocalStore.open(state, read_only=read_only) as store:
                database = await store.get(DATABASE)
                assert database
                assert database.status == {"phase": "Ready"}
                assert database.finalizers == ("dbtether.io/finalizer",)
                secret = await store.get_secret(SECRET.namespace, SECRET.name)
                assert secret
                assert secret.data == SECRET.data
                assert [event.reason for event in store.events(DATABASE)] == ["Created"]

    asyncio.run(main())


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_can_read_anything_whatever_the_umask(state: Path) -> None:
    fill(state)
    for path in [state, *state.rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_a_directory_that_others_could_read_is_closed_to_them_at_open(state: Path) -> None:
    fill(state)
    state.chmod(0o755)
    LocalStore.open(state).close()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


# -- identity -----------------------------------------------------------------------------------------


def test_the_installation_is_made_once_and_kept(state: Path) -> None:
    with LocalStore.open(state) as first:
        assert re.fullmatch("[0-9a-f]{8}", first.installation)
        assert len(first.fingerprint_key) == 32
    with LocalStore.open(state) as second:
        assert second.installation == first.installation
        assert second.fingerprint_key == first.fingerprint_key


def test_a_given_installation_is_recorded_and_another_one_refused(state: Path) -> None:
    with LocalStore.open(state, "ci-staging") as store:
        assert store.installation == "ci-staging"
    with LocalStore.open(state, "ci-staging") as store:
        assert store.installation == "ci-staging"
    for read_only in (False, True):
        with pytest.raises(StateError, match="belongs to installation ci-staging, not other"):
            LocalStore.open(state, "other", read_only=read_only)


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a" * 41, "é", "a\n"])
def test_an_installation_id_that_breaks_the_rule_is_refused(state: Path, name: str) -> None:
    with pytest.raises(StateError, match="installation id"):
        LocalStore.open(state, name)
    assert not state.exists()


def test_a_lost_installation_is_asked_for_and_never_invented(state: Path) -> None:
    fill(state)
    (state / "installation").unlink()
    with pytest.raises(StateError, match="is missing although there are resources"):
        LocalStore.open(state)
    with LocalStore.open(state, "mine") as store:
        assert store.installation == "mine"


@pytest.mark.parametrize("name", ["installation", "fingerprint.key"])
def test_a_broken_identity_is_reported_with_its_file(state: Path, name: str) -> None:
    fill(state)
    (state / name).write_bytes(b"\xff garbage \0")
    with pytest.raises(StateError, match=re.escape(str(state / name))):
        LocalStore.open(state)


# -- one writer ---------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_told_who_holds_the_lock(state: Path) -> None:
    with (
        LocalStore.open(state),
        pytest.raises(StateError, match=rf"in use by process {os.getpid()} since \d{{4}}-"),
    ):
        LocalStore.open(state)
    LocalStore.open(state).close()


def test_a_reader_needs_no_lock_and_cannot_write(state: Path) -> None:
    fill(state)

    async def main() -> None:
        with LocalStore.open(state) as writer, LocalStore.open(state, read_only=True) as reader:
            database = await reader.get(DATABASE)
            assert database
            with pytest.raises(StateError, match="not open for writing"):
                await reader.write_status(database, {"phase": "Failed"})
            with pytest.raises(StateError, match="not open for writing"):
                await reader.write_secret(replace(SECRET, name="new"))
            with pytest.raises(StateError, match="not open for writing"):
                await reader.request_deletion(CLUSTER)
            assert await writer.get(DATABASE) == database

    asyncio.run(main())


def test_reading_a_directory_leaves_no_trace(state: Path) -> None:
    with pytest.raises(StateMissing):
        LocalStore.open(state, read_only=True)
    assert not state.exists()
    fill(state)
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    LocalStore.open(state, read_only=True).close()
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == before


def test_a_closed_store_takes_no_write(state: Path) -> None:
    async def main() -> None:
        store = LocalStore.open(state)
        store.close()
        store.close()
        with pytest.raises(StateError, match="not open for writing"):
            await store.apply_resource(DATABASE, {})

    asyncio.run(main())


# -- what is wrong in a directory ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"kind: [", b"\xff\xfe", b"{}"])
def test_a_torn_resource_is_reported_with_its_path_and_kept(state: Path, content: bytes) -> None:
    fill(state)
    database_file(state).write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(StateError, match=re.escape(str(database_file(state)))):
            LocalStore.open(state, read_only=read_only)
    assert database_file(state).read_bytes() == content
    database_file(state).unlink()
    LocalStore.open(state).close()


def test_a_torn_secret_is_reported_when_it_is_asked_for_and_never_overwritten(state: Path) -> None:
    fill(state)
    secret_file(state).write_bytes(b"data: hunter2: [")

    async def main() -> None:
        with LocalStore.open(state) as store:
            for attempt in (
                store.get_secret(SECRET.namespace, SECRET.name),
                store.write_secret(SECRET),
                store.list_secrets(),
            ):
                with pytest.raises(StateError, match=re.escape(str(secret_file(state)))) as refused:
                    await attempt
                assert "hunter2" not in str(refused.value)
        assert secret_file(state).read_bytes() == b"data: hunter2: ["

    asyncio.run(main())


def test_temporary_files_of_a_killed_process_are_swept(state: Path) -> None:
    fill(state)
    left = [state / ".tmp-1-1", database_file(state).with_name(".tmp-1-2"), secret_file(state).parent / ".tmp-9"]
    for path in left:
        path.write_text("half")
    LocalStore.open(state, read_only=True).close()
    assert all(path.exists() for path in left)
    LocalStore.open(state).close()
    assert not any(path.exists() for path in left)


def test_a_cut_event_line_costs_that_line_alone(state: Path) -> None:
    fill(state)
    with (state / "events.jsonl").open("a") as file:
        file.write('{"kind": "Data')

    async def main() -> None:
        with LocalStore.open(state) as store:
            database = await store.get(DATABASE)
            assert database
            await store.record_event(database, EventType.NORMAL, "Ready", "it works")
        with LocalStore.open(state) as store:
            assert [event.reason for event in store.events(DATABASE)] == ["Created", "Ready"]

    asyncio.run(main())


def test_a_resource_that_is_made_anew_does_not_inherit_events(state: Path) -> None:
    fill(state)

    async def main() -> None:
        with LocalStore.open(state) as store:
            await store.request_deletion(DATABASE)
            waiting = await store.get(DATABASE)
            assert waiting
            await store.write_finalizers(waiting, ())
            await store.apply_resource(DATABASE, {})
        with LocalStore.open(state) as store:
            assert store.events(DATABASE) == ()

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_reported_with_its_path(state: Path) -> None:
    fill(state)
    database_file(state).chmod(0)
    with pytest.raises(StateError, match=re.escape(f"{database_file(state)}: Permission denied")):
        LocalStore.open(state)


def test_the_event_log_stays_small(state: Path) -> None:
    fill(state)

    async def main() -> None:
        with LocalStore.open(state) as store:
            database = await store.get(DATABASE)
            assert database
            for number in range(2500):
                await store.record_event(database, EventType.NORMAL, "Failed", f"attempt {number % 2}")
        assert len((state / "events.jsonl").read_text().splitlines()) < 1100

    asyncio.run(main())


@pytest.mark.parametrize(
    "linked", ["resources/Database/default/my-app.yaml", "resources/Database", "secrets", "installation"]
)
def test_a_symbolic_link_inside_is_refused(state: Path, tmp_path: Path, linked: str) -> None:
    fill(state)
    target = tmp_path / "elsewhere"
    (state / linked).rename(target)
    (state / linked).symlink_to(target)
    with pytest.raises(StateError, match="symbolic link"):
        LocalStore.open(state)


def test_a_linked_secret_is_refused_when_it_is_asked_for(state: Path, tmp_path: Path) -> None:
    fill(state)
    secret_file(state).rename(tmp_path / "elsewhere")
    secret_file(state).symlink_to(tmp_path / "elsewhere")

    async def main() -> None:
        with LocalStore.open(state) as store:
            with pytest.raises(StateError, match="symbolic link"):
                await store.get_secret(SECRET.namespace, SECRET.name)
            with pytest.raises(StateError, match="symbolic link"):
                await store.list_secrets()

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_another_users_directory_or_file_is_refused(state: Path) -> None:
    fill(state)
    os.chown(database_file(state), 12345, -1)
    with pytest.raises(StateError, match="belongs to another user"):
        LocalStore.open(state)
    os.chown(database_file(state), os.geteuid(), -1)
    os.chown(state, 12345, -1)
    for read_only in (False, True):
        with pytest.raises(StateError, match="belongs to another user"):
            LocalStore.open(state, read_only=read_only)


def test_a_folder_full_of_other_things_is_not_taken_for_a_state_directory(state: Path) -> None:
    state.mkdir(mode=0o755)
    (state / "thesis.tex").write_text("years of work")
    with pytest.raises(StateError, match="holds other files"):
        LocalStore.open(state)
    assert [path.name for path in state.iterdir()] == ["thesis.tex"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o755


def test_a_file_in_place_of_the_directory_is_refused(state: Path) -> None:
    state.write_text("a file")
    for read_only in (False, True):
        with pytest.raises(StateError):
            LocalStore.open(state, read_only=read_only)


def test_a_hand_made_resource_file_under_a_wrong_name_is_reported(state: Path) -> None:
    fill(state)
    database_file(state).rename(database_file(state).with_name("other.yaml"))
    with pytest.raises(StateError, match="are not those of Database default/other"):
        LocalStore.open(state)


def test_a_disk_that_refuses_is_a_state_error_and_nothing_is_half_written(state: Path) -> None:
    fill(state)

    async def main() -> None:
        with LocalStore.open(state) as store:
            # A folder in the file's place refuses the rename, for root as well.
            database_file(state).unlink()
            database_file(state).mkdir()
            database = await store.get(DATABASE)
            assert database
            with pytest.raises(StateError, match=re.escape(str(database_file(state)))):
                await store.write_status(database, {"phase": "Failed"})
            assert await store.get(DATABASE) == database
            assert list(database_file(state).parent.glob(".tmp*")) == []

    asyncio.run(main())


def test_threads_that_wait_for_something_else_do_not_hold_up_a_write(state: Path) -> None:
    release = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waiting = loop.run_in_executor(None, release.wait)
        try:
            with LocalStore.open(state) as store:
                await asyncio.wait_for(store.write_secret(SECRET), 10)
        finally:
            release.set()
            await waiting

    asyncio.run(main())


def test_a_key_that_was_never_stored_keeps_its_kind_empty(state: Path) -> None:
    async def main() -> None:
        with LocalStore.open(state) as store:
            assert await store.list("Nothing") == ()
            assert await store.get(Key("Nothing", "", "a")) is None

    asyncio.run(main())
