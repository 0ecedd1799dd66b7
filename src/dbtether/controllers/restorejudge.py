"""Whether a source that was read to its end may be loaded into a target, and how. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from dbtether.api.names import Group
from dbtether.api.restore import OnConflict
from dbtether.backup.manifest import Manifest
from dbtether.backup.restore.model import Findings, LoadWay
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import Database, DesiredDatabase, DesiredExtension, ObservedDatabase
from dbtether.postgres.guards import Verdict
from dbtether.postgres.restores.guards import (
    missing_extension,
    objects_not_droppable,
    staging_blocked,
    target_not_empty,
    too_many_locks,
)
from dbtether.postgres.restores.model import DesiredLocale, DesiredStaging, RestoreTarget

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that is judged."""

    on_conflict: OnConflict
    is_drill: bool
    """Whether nothing of it gets into the target."""
    is_ours: bool
    """Whether this installation signed the source's manifest."""
    findings: Findings
    wanted: DesiredDatabase
    """The target, with the extensions that the dump needs."""
    target: ObservedDatabase
    contents: RestoreTarget
    """What is in the target."""
    staging: DesiredStaging
    """A database beside the target, should it be needed."""
    beside: ObservedDatabase
    """That one, as it is or would be made."""
    roles: frozenset[str]
    """Those that the dump's policies name and that exist."""

    @property
    def way(self) -> LoadWay:
        """Beside the target whenever it is replaced or left, whatever is not proven ours, and what is too much."""
        if self.is_drill or self.on_conflict is OnConflict.DROP or not self.is_ours:
            return LoadWay.STAGING
        is_too_much = too_many_locks(self.wanted.name, 0, self.findings.objects, self.contents) is not None
        if self.on_conflict is OnConflict.FAIL and is_too_much:
            return LoadWay.STAGING
        return LoadWay.TRANSACTION


def judge(case: Case) -> Verdict:
    """The first thing that is in the way of the load, with what to do about it; None when nothing is."""
    needs_room = case.on_conflict is OnConflict.FAIL and not case.is_drill
    if needs_room and (found := target_not_empty(case.wanted.name, case.contents)):
        return found
    if (found := roles_missing(case)) is not None:
        return found
    if case.way is LoadWay.STAGING:
        return staging_blocked(case.staging, case.beside)
    return _overwrite_blocked(case) or missing_extension(case.wanted, case.target)


def _overwrite_blocked(case: Case) -> Verdict:
    name, contents = case.wanted.name, case.contents
    overwrites = case.on_conflict is OnConflict.OVERWRITE
    locks = too_many_locks(name, contents.locks if overwrites else 0, case.findings.objects, contents)
    if not overwrites:
        return locks
    return objects_not_droppable(name, case.wanted.roles.groups[Group.ADMIN], contents) or locks


def roles_missing(case: Case) -> Verdict:
    """A policy without its role would be lost, and rows be seen that should not."""
    missing = sorted(set(case.findings.roles) - case.roles)
    if not missing:
        return None
    return Blocked(
        "RoleNotFound",
        f"Policies of the dump name roles that the server does not have ({_listed(missing, len(missing))}): nothing "
        "was changed; create them, as DatabaseUsers or by a DBA, and then another Restore",
    )


def extensions_of(findings: Findings, manifest: Manifest | None, *, is_ours: bool) -> tuple[DesiredExtension, ...]:
    """The extensions that the dump needs, as they were; what an unsigned manifest says is not believed."""
    recorded = {} if manifest is None or not is_ours else {item.name: item for item in manifest.source.extensions}
    found = []
    for name in sorted(findings.extensions):
        known = recorded.get(name)
        schema = None if known is None or known.schema_name in ("public", "pg_catalog") else known.schema_name
        found.append(DesiredExtension(name, None if known is None else known.version, schema))
    return tuple(found)


def staging_locale(
    desired: DesiredDatabase, target: Database, manifest: Manifest | None, *, is_ours: bool
) -> DesiredLocale:
    """How a database beside the target sorts: as the spec says, else as the one did that was dumped."""
    told = (desired.encoding, desired.lc_collate, desired.lc_ctype, desired.locale_provider, desired.icu_locale)
    if manifest is None or not is_ours or any(told):
        return DesiredLocale.of(target)
    source, collation = manifest.source, manifest.source.collation
    return DesiredLocale(source.encoding, collation.provider, collation.collate, collation.ctype, collation.icu_locale)


def _listed(names: Iterable[str], count: int) -> str:
    shown = tuple(names)[:_SHOWN]
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"{', '.join(shown)}{more}"
