"""What is observed of a restore's target and of the databases beside it, and the comments that tell whose they are.

Both comments are of databases that the owner role owns, which nobody joins, and the record's is of a group
role: none of them can be written by a tenant. Pure.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dbtether.api.identifiers import MAX_IDENTIFIER_BYTES
from dbtether.api.names import Marker, cut_bytes, parse_marker
from dbtether.api.times import instant_problem, instant_text, parse_instant
from dbtether.postgres.databases.model import Database, DesiredDatabase, DesiredExtension, Session
from dbtether.postgres.roles.model import Role, RoleNames
from dbtether.postgres.server.model import ServerFacts

_STAGING = "dbtether-staging: "
_REPLACED = "dbtether-replaced: "
_RECORD = "dbtether-restores: "
_SWAPPING = " swapping"
_MARKER_PREFIX = "dbtether:"
_MOST_RECORDED = 50
_ENDING = re.compile(r"__(?:restore|before)_(?P<run>[0-9a-z]+)\Z")


def staging_name(database: str, run_id: str) -> str:
    """The database that a run loads into before it takes the other's place; the run's id is never cut."""
    return _beside(database, f"__restore_{run_id}")


def replaced_name(database: str, run_id: str) -> str:
    """The name of the database that a run has replaced; the run's id is never cut."""
    return _beside(database, f"__before_{run_id}")


def _beside(database: str, ending: str) -> str:
    return cut_bytes(database, MAX_IDENTIFIER_BYTES - len(ending)) + ending


def run_beside(database: str, name: str) -> str | None:
    """The run whose staging or replaced database of `database` has this name; None for any other name."""
    match = _ENDING.search(name)
    if match is None or name not in (staging_name(database, match["run"]), replaced_name(database, match["run"])):
        return None
    return match["run"]


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """What is in a database that is to be restored into; names are qualified and quoted."""

    objects: int
    """In user schemas, and those that are in no schema: extensions and their members aside."""
    examples: tuple[str, ...]
    """The first of them."""
    undroppable: tuple[str, ...]
    """Those that the admins' group may not drop, at most 50."""
    undroppable_count: int
    schemas: frozenset[str]
    droppable_schemas: frozenset[str]
    """Those that the admins' group owns and no extension needs."""
    locks: int
    """About how many locks it takes to drop everything at once."""
    lock_capacity: int
    """How many locks the server has room for."""
    size_bytes: int
    grantees: frozenset[str]
    """The roles beside ours that have privileges on something in it."""

    def surviving_schemas(self, wanted: Collection[str]) -> frozenset[str]:
        """The schemas that are there still when everything has been dropped; `wanted` are the Database's."""
        return self.schemas - (self.droppable_schemas - set(wanted))


@dataclass(frozen=True, slots=True)
class Staging:
    """A database that a run loads into."""

    database: str
    run_id: str
    marker: Marker | None
    """Of the Database resource; None when its creation was interrupted."""
    is_swapping: bool = False
    """Whether the other one was closed for it."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A database whose place another one has taken, kept to go back."""

    database: str
    run_id: str
    expires: datetime
    marker: Marker
    """Of the Database resource."""
    is_swapping: bool = False
    """Whether the other one was closed for it, to go back."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A restore that ended well."""

    spec_hash: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Restores:
    """What restores have left on the server beside a database."""

    record: tuple[Completed, ...] = ()
    """Newest first."""
    staging: tuple[Staging, ...] = ()
    replaced: tuple[Replaced, ...] = ()

    def run_of(self, spec_hash: str) -> str | None:
        """The run that completed a restore of this hash, or None."""
        return next((done.run_id for done in self.record if done.spec_hash == spec_hash), None)


def restores_beside(
    database: str,
    marker: Marker,
    owners: Collection[str],
    beside: Iterable[Database],
    record: tuple[Completed, ...],
) -> Restores:
    """What of the databases beside it belongs to this one: by name, owner and comment, all three.

    A staging database without a comment that was never opened is one whose creation was interrupted.
    """
    staging, replaced = [], []
    for found in beside:
        run_id = run_beside(database, found.name)
        if run_id is None or found.owner not in owners:
            continue
        made, kept = staging_in(found.name, found.comment), replaced_in(found.name, found.comment)
        if found.comment is None and not found.allows_connections and found.name == staging_name(database, run_id):
            staging.append(Staging(found.name, run_id, None))
        elif made is not None and (made.run_id, made.marker) == (run_id, marker):
            staging.append(made)
        elif kept is not None and (kept.run_id, kept.marker) == (run_id, marker):
            replaced.append(kept)
    return Restores(record, tuple(staging), tuple(replaced))


def staging_comment(marker: Marker, run_id: str, *, is_swapping: bool = False) -> str:
    """What says that a database is a run's, and whether the other one was closed for it."""
    return f"{_STAGING}{_plain(marker)} run {run_id}{_SWAPPING if is_swapping else ''}"


def replaced_comment(marker: Marker, run_id: str, expires: datetime, *, is_swapping: bool = False) -> str:
    """What says that a database was replaced, and how long it is kept."""
    return f"{_REPLACED}{_plain(marker)} run {run_id} until {instant_text(expires)}{_SWAPPING if is_swapping else ''}"


def _plain(marker: Marker) -> str:
    return str(marker).removeprefix(_MARKER_PREFIX)


def staging_in(name: str, comment: str | None) -> Staging | None:
    """The staging database that a comment tells of, or None."""
    if comment is None or not comment.startswith(_STAGING):
        return None
    words = comment.removeprefix(_STAGING).removesuffix(_SWAPPING).split(" ")
    if len(words) != 3 or words[1] != "run" or (marker := parse_marker(_MARKER_PREFIX + words[0])) is None:
        return None
    return Staging(name, words[2], marker, comment.endswith(_SWAPPING))


def replaced_in(name: str, comment: str | None) -> Replaced | None:
    """The replaced database that a comment tells of, or None."""
    if comment is None or not comment.startswith(_REPLACED):
        return None
    words = comment.removeprefix(_REPLACED).removesuffix(_SWAPPING).split(" ")
    if len(words) != 5 or (words[1], words[3]) != ("run", "until"):
        return None
    marker = parse_marker(_MARKER_PREFIX + words[0])
    if marker is None or instant_problem(words[4]) is not None:
        return None
    return Replaced(name, words[2], parse_instant(words[4]), marker, comment.endswith(_SWAPPING))


def record_in(comment: str | None) -> tuple[Completed, ...]:
    """The completed restores that the comment of the readwrite group tells of, newest first."""
    if comment is None or not comment.startswith(_RECORD):
        return ()
    pairs = (word.partition("@") for word in comment.removeprefix(_RECORD).split(" "))
    return tuple(Completed(spec_hash, run_id) for spec_hash, at, run_id in pairs if at)


def record_comment(record: Iterable[Completed], done: Completed) -> str:
    """The record with one more, without the oldest where there are too many."""
    kept = [done, *(item for item in record if item.spec_hash != done.spec_hash)][:_MOST_RECORDED]
    return _RECORD + " ".join(f"{item.spec_hash}@{item.run_id}" for item in kept)


def committed_name(run_id: str) -> str:
    """What a run's login sets its application_name to in the transaction that ends a load."""
    return f"dbtether-restored-{run_id}"


def committed_run(role: Role, run_id: str) -> bool:
    """Whether the load of a run was committed, as its login's own settings tell."""
    return f"application_name={committed_name(run_id)}" in role.settings.get("", ())


@dataclass(frozen=True, slots=True)
class DesiredLocale:
    """How a database that is to be made sorts, in the words of pg_database."""

    encoding: str
    provider: str
    """`libc`, `icu` or `builtin`."""
    collate: str
    ctype: str
    locale: str | None = None
    """Of the providers `icu` and `builtin`."""

    @classmethod
    def of(cls, database: Database) -> "DesiredLocale":
        """That of a database as it is."""
        return cls(
            database.encoding, database.locale_provider, database.lc_collate, database.lc_ctype, database.icu_locale
        )


@dataclass(frozen=True, slots=True)
class DesiredStaging:
    """A database for a run to load into, as the Database resource wants its own."""

    target: DesiredDatabase
    run_id: str
    locale: DesiredLocale
    extensions: tuple[DesiredExtension, ...] = ()
    """All that it shall have (`extensions_for`)."""

    @property
    def name(self) -> str:
        """Its name."""
        return staging_name(self.target.name, self.run_id)


@dataclass(frozen=True, slots=True)
class DesiredSwap:
    """One database takes another's place, which is kept: a staging database, or, to go back, a replaced one."""

    database: str
    """The name that changes hands."""
    marker: Marker
    roles: RoleNames
    run_id: str
    """Of the run that swaps: the one that has the name now is called after it."""
    incoming: str
    """The name of the one that takes its place."""
    expires: datetime
    """How long the one that gives way is kept."""
    completed: Completed | None = None
    """What is recorded in the same transaction; nothing when a person goes back."""
    known_owners: frozenset[str] = frozenset()
    """Roles beside the owner role that own the database by the resource's own doing."""

    @property
    def outgoing(self) -> str:
        """The name of the one that gives way, from then on."""
        return replaced_name(self.database, self.run_id)


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What keeps a database from being renamed, or would stay with it."""

    prepared: tuple[str, ...] = ()
    """Prepared transactions, by their identifiers."""
    slots: tuple[str, ...] = ()
    """Logical replication slots."""
    subscriptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedSwap:
    """Everything a swap looks at."""

    server: ServerFacts
    target: Database | None
    incoming: Database | None
    outgoing: Database | None = None
    """What has the name already that the target is to get: the swap is done when nothing is coming in any more."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """The database's own, the owners, those that are connected, and those with settings in either."""
    sessions: Mapping[str, tuple[Session, ...]] = field(default_factory=dict)
    """By database."""
    role_settings: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """`name=value` items, by database and role."""
    obstacles: Mapping[str, Obstacles] = field(default_factory=dict)
    """By database."""
    superuser_settings: frozenset[str] = frozenset()
    """Settings that the admin may not set."""
    record: tuple[Completed, ...] = ()
    """What the readwrite group's comment tells."""
    maintenance_database: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the swap has been committed."""
        return self.outgoing is not None and self.incoming is None and self.target is not None

    @property
    def is_swapping(self) -> bool:
        """Whether the target was closed for this swap, and by nobody else."""
        if self.incoming is None:
            return False
        name, comment = self.incoming.name, self.incoming.comment
        found = staging_in(name, comment) or replaced_in(name, comment)
        return found is not None and found.is_swapping
