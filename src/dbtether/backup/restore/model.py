"""The words of a restore: how it loads, what rules its statements, and what its first pass finds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class LoadWay(StrEnum):
    """How a dump gets into a database."""

    TRANSACTION = "transaction"
    """One transaction, committed after the last proof; every object that it makes is locked until then."""
    STAGING = "staging"
    """Into a database of its own that nobody uses yet, committed in batches."""


class ExistingObjects(StrEnum):
    """What a load in one transaction does about the objects that are there."""

    REFUSE = "refuse"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the guard must know of the target to judge a dump's statements."""

    server_major: int
    existing_schemas: frozenset[str] = frozenset({"public"})
    """Schemas whose CREATE is left out."""
    kept_grantees: frozenset[str] = frozenset()
    """Roles beside PUBLIC whose privileges are restored; never one of ours."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the first pass has read of an object, whole and proven as far as its manifest goes."""

    object_bytes: int
    object_sha256: str
    plain_bytes: int
    plain_sha256: str
    """Of the text inside the object; in the custom format that of the archive itself."""
    tables: int
    """Tables with data in the dump."""
    rows: int
    objects: int
    """Tables, indexes, sequences, views: what one transaction locks."""
    extensions: tuple[str, ...] = ()
    """Those that the dump creates."""
    schemas: tuple[str, ...] = ()
    """Those that the dump creates."""
    roles: tuple[str, ...] = ()
    """Those that its policies name."""
    server_version: str | None = None
    client_version: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many statements will not be run, by what they are, such as `ALTER ... OWNER TO`."""
    names_cut: int = 0
    """Names of extensions, roles and schemas that did not fit into the job's result."""
