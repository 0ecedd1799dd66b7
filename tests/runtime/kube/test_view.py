"""What the store shows while watches lag behind its own writes."""

from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime

from dbtether.api.resource import Key, Resource
from dbtether.runtime.kube.view import View
from dbtether.runtime.store import Change, ChangeType

KEY = Key("Database", "default", "my-app")
AUTHOR: ContextVar[str] = ContextVar("author", default="somebody")


def resource(version: int, key: Key = KEY, *, uid: str = "uid-1", phase: str = "") -> Resource:
    return Resource(
        key=key,
        uid=uid,
        generation=1,
        resource_version=str(version),
        created=datetime(2026, 1, 2, tzinfo=UTC),
        spec={},
        status={"phase": phase},
    )


class Watched:
    """A view that notes what it tells, and in whose context."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.told: list[str] = []
        self.view = View("Database", self._tell)

    def _tell(self, change: Change) -> None:
        self.changes.append(change)
        what = change.new or change.old
        assert what
        self.told.append(f"{change.type} {what.resource_version} of {AUTHOR.get()}")

    def write(self, written: Resource, *meanwhile: Resource) -> None:
        """Write as "me" while the watch shows those in between."""
        token = AUTHOR.set("me")
        with self.view.writing(written.key):
            for seen in meanwhile:
                self.view.seen(seen)
            self.view.wrote(written)
        AUTHOR.reset(token)


def always(_: Resource) -> bool:
    return True


def test_an_own_write_is_shown_and_told_before_the_watch_has_it() -> None:
    watched = Watched()
    watched.view.seen(resource(1))
    watched.write(resource(2))
    assert watched.view.get(KEY) == resource(2)
    watched.view.seen(resource(2))
    assert watched.told == ["Added 1 of somebody", "Modified 2 of me"]


def test_what_the_watch_tells_of_before_an_own_write_is_ignored() -> None:
    watched = Watched()
    watched.write(resource(5))
    watched.view.seen(resource(3))
    watched.view.seen(resource(4))
    assert watched.view.get(KEY) == resource(5)
    watched.view.seen(resource(5))
    watched.view.seen(resource(6))
    assert watched.view.get(KEY) == resource(6)
    assert watched.told == ["Added 5 of me", "Modified 6 of somebody"]


def test_an_own_write_that_the_watch_tells_before_its_answer_is_told_as_ours() -> None:
    watched = Watched()
    watched.view.seen(resource(1))
    watched.write(resource(3), resource(2), resource(3), resource(4))
    assert watched.told == [
        "Added 1 of somebody",
        "Modified 2 of somebody",
        "Modified 3 of me",
        "Modified 4 of somebody",
    ]


def test_what_was_held_back_is_told_when_the_write_fails() -> None:
    watched = Watched()
    with watched.view.writing(KEY):
        watched.view.seen(resource(1))
        assert watched.view.get(KEY) is None
    assert watched.told == ["Added 1 of somebody"]


def test_a_resource_that_we_removed_does_not_come_back_from_the_past() -> None:
    watched = Watched()
    watched.view.seen(resource(1))
    with watched.view.writing(KEY):
        watched.view.removed(KEY, 3)
    for version in (2, 3):
        watched.view.seen(resource(version))
    assert watched.view.get(KEY) is None
    watched.view.gone(KEY, 4)
    watched.view.seen(resource(5, uid="uid-2"))
    assert [change.type for change in watched.changes] == [ChangeType.ADDED, ChangeType.REMOVED, ChangeType.ADDED]


def test_a_list_tells_what_vanished_unless_we_wrote_it_since() -> None:
    watched = Watched()
    vanished, ours = replace(KEY, name="vanished"), replace(KEY, name="ours")
    watched.view.seen(resource(1, vanished))
    since = watched.view.mark
    watched.write(resource(9, ours))
    watched.view.listed([resource(2)], 2, since, always)
    assert watched.view.all() == (resource(2), resource(9, ours))
    assert watched.told == [
        "Added 1 of somebody",
        "Added 9 of me",
        "Added 2 of somebody",
        "Removed 1 of somebody",
    ]


def test_a_list_of_a_restored_server_is_right_although_its_versions_are_lower() -> None:
    watched = Watched()
    watched.view.seen(resource(50))
    watched.write(resource(60))
    watched.view.listed([resource(7, phase="restored")], 8, watched.view.mark, always)
    assert watched.view.get(KEY) == resource(7, phase="restored")
    watched.view.seen(resource(9))
    assert watched.view.get(KEY) == resource(9)


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    watched = Watched()
    other = Key("Database", "other", "my-app")
    watched.view.seen(resource(1))
    watched.view.seen(resource(2, other))
    watched.view.listed([], 3, 0, lambda known: known.key.namespace == "default")
    assert watched.view.all() == (resource(2, other),)


def test_a_resource_made_anew_while_nobody_watched_is_two_changes() -> None:
    watched = Watched()
    watched.view.seen(resource(1))
    watched.view.listed([resource(5, uid="uid-2")], 5, 0, always)
    assert [change.type for change in watched.changes] == [ChangeType.ADDED, ChangeType.REMOVED, ChangeType.ADDED]


def test_what_the_server_says_on_asking_is_told_as_somebody_elses() -> None:
    watched = Watched()
    token = AUTHOR.set("me")
    with watched.view.writing(KEY):
        watched.view.read(resource(3))
    watched.view.seen(resource(2))
    assert watched.view.get(KEY) == resource(3)
    with watched.view.writing(KEY):
        watched.view.absent(KEY)
    AUTHOR.reset(token)
    assert watched.told == ["Added 3 of somebody", "Removed 3 of somebody"]
