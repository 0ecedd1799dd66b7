"""Whose an object on a server is, and whether somebody else may have it: one rule for databases and logins.

What carries the marker of a resource belongs to it. Another resource gets it only when its own manifest asks
for that (`spec.adopt`), the DBCluster lists the object for its namespace (`spec.adoptable`), and nobody else
holds it: a resource that is there gives away by the annotation `dbtether.io/release-to` alone, and what
another installation marked is given by nobody but a DBA.
"""

import re
from dataclasses import dataclass

from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.kinds import RELEASE_TO
from dbtether.api.names import Marker
from dbtether.api.resource import Key, Resource
from dbtether.errors import Blocked
from dbtether.postgres.guards import Verdict, quoted
from dbtether.runtime.store import Store

_RELEASED_TO = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_WORDS = {
    "Database": ("database", "databaseName", "DatabaseNotOurs"),
    "DatabaseUser": ("role", "username", "RoleNotOurs"),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A resource that wants the database or role `name` of a DBCluster for itself."""

    resource: Resource
    marker: Marker
    """Its own."""
    cluster_name: str
    cluster: DBClusterSpec
    name: str
    adopts: bool
    """Whether it asks for one that exists."""
    marked_role: str
    """The role whose comment tells whose it is."""

    @property
    def what(self) -> str:
        """`database x` or `role x`."""
        return f"{self._words[0]} {self.name}"

    @property
    def not_ours(self) -> str:
        """The reason for one that is somebody else's."""
        return self._words[2]

    @property
    def is_allowed(self) -> bool:
        """Whether the DBCluster lets the resource's namespace take it over."""
        namespace = self.resource.key.namespace
        if self.resource.key.kind == "Database":
            return self.cluster.may_adopt(namespace, database=self.name)
        return self.cluster.may_adopt(namespace, role=self.name)

    @property
    def field(self) -> str:
        """The field of the spec that gives the name."""
        return f"spec.{self._words[1]}"

    @property
    def entry(self) -> str:
        """What the DBCluster's `adoptable` must list."""
        return f"{{{self._words[0]}: {self.name}, namespace: {self.resource.key.namespace}}}"

    @property
    def _words(self) -> tuple[str, str, str]:
        return _WORDS[self.resource.key.kind]


def adoption_not_allowed(claim: Claim, *others: str) -> Verdict:
    """The complaint about a claim without the DBCluster's consent, `others` being entries that would do as well.

    The same whether or not the object exists: who asks without consent learns nothing.
    """
    if claim.is_allowed:
        return None
    more = "".join(f" (or {entry})" for entry in others)
    return Blocked(
        "AdoptionNotAllowed",
        f"spec.adopt: DBCluster {claim.cluster_name} does not let namespace {claim.resource.key.namespace} take over "
        f"{claim.what}: the platform team must add {claim.entry}{more} to its spec.adoptable",
    )


async def somebody_elses(store: Store, claim: Claim, found: Marker | None) -> Verdict:
    """The complaint about an object that exists with this marker and is not the claim's; None when it may be taken.

    Answers None for what is the claim's own already. Without consent the answer tells nothing of it.
    """
    if found == claim.marker:
        return None
    if claim.adopts and (blocked := adoption_not_allowed(claim)) is not None:
        return blocked
    what = claim.what[0].upper() + claim.what[1:]
    if found is not None and found.installation not in (None, claim.marker.installation):
        role = quoted(claim.marked_role)
        return Blocked(
            "OtherInstallation",
            f"{what} is marked by another installation of dbtether ({found.installation}): nothing was changed; choose "
            f"another {claim.field}, or, when it is given up there, have a DBA run COMMENT ON ROLE {role} IS NULL",
        )
    if not claim.adopts:
        return Blocked(
            claim.not_ours,
            f"{what} exists already and was not made for this resource: nothing was changed; choose another "
            f"{claim.field}, or set spec.adopt to take it over, which the DBCluster must allow",
        )
    return None if found is None else await _held(store, claim, found, what)


async def _held(store: Store, claim: Claim, found: Marker, what: str) -> Verdict:
    """A resource that is there keeps what is marked for it until it releases it to this one."""
    own = claim.resource.key
    key = Key(own.kind, found.namespace, found.name)
    holder = None if key == own else await store.get(key)
    if holder is None or releases_to(holder, own):
        return None
    whose = str(key) if key.namespace == own.namespace else f"a {key.kind} of another namespace"
    return Blocked(
        claim.not_ours,
        f"{what} belongs to {whose}, which is still there: nothing was changed; that one must be annotated with "
        f"{RELEASE_TO}={own.path}, or deleted with deletionPolicy Retain",
    )


def released_to(resource: Resource) -> str | None:
    """Whom the resource gives away to what it has, as `namespace/name`."""
    return resource.annotations.get(RELEASE_TO) or None


def release_note(resource: Resource) -> str | None:
    """What a person should know of the annotation that gives the resource's object away; None without it."""
    to = released_to(resource)
    if to is None:
        return None
    if not _RELEASED_TO.fullmatch(to):
        return f"the annotation {RELEASE_TO} names nobody: it must be namespace/name of a {resource.key.kind}"
    return f"it goes to {resource.key.kind} {to} as soon as that one asks for it by spec.adopt"


def releases_to(resource: Resource, other: Key) -> bool:
    """Whether the resource gives what it has to that one."""
    return released_to(resource) == other.path


def given_away(resource: Resource, what: str, found: Marker | None) -> Verdict:
    """The word of a resource whose object another one has by now, as it was told to; None while it is its own."""
    to = released_to(resource)
    if found is None or to is None or to != f"{found.namespace}/{found.name}":
        return None
    return Blocked(
        "Released",
        f"{what} belongs to {resource.key.kind} {to} now, as the annotation {RELEASE_TO} asked: delete this resource, "
        f"which drops nothing that it gave away",
    )
