"""The controller of Databases: the database, its owner and groups, what is inside, and its end."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dbtether.api.database import DatabasePhase, DatabaseSpec, DriftPolicy, database_name
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.kinds import CONFIRM_DELETE, UNDO_RESTORE
from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.names import parse_marker
from dbtether.api.references import DeletionPolicy
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import validate_resource
from dbtether.controllers.adoption import Claim, given_away, release_note, released_to, releases_to
from dbtether.controllers.base import Controller, connected_server
from dbtether.controllers.databaseadopt import (
    known_owners,
    may_adopt,
    wants_to_adopt,
    was_adopted,
    without_leaving,
)
from dbtether.controllers.databasedesired import desired_database
from dbtether.controllers.databasenotes import extension_fields, grant_fields, notes_on
from dbtether.controllers.databasereplaced import (
    Beside,
    Kept,
    drop_everything_beside,
    go_on_after_swap,
    keep_replaced,
    undo_restore,
)
from dbtether.controllers.drift import NO_DRIFT, is_drift, report_drift
from dbtether.controllers.grants import grants_hash, wanted_grant_groups
from dbtether.controllers.report import Level, Report
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.databases.drop import ObservedDatabaseDrop, foreign_session, marker_lost, plan_drop
from dbtether.postgres.databases.grantgroups import plan_grant_groups
from dbtether.postgres.databases.guards import GUARDS
from dbtether.postgres.databases.leftovers import with_left_over
from dbtether.postgres.databases.model import (
    DesiredDatabase,
    ObservedDatabase,
)
from dbtether.postgres.databases.ownership import is_adoption, is_ours, previous_owner, wanted_owner
from dbtether.postgres.databases.plan import plan, sees_everything
from dbtether.postgres.guards import first_blocked, quoted
from dbtether.postgres.restores.model import run_beside
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server
from dbtether.postgres.server.looking import look_from_outside, look_inside
from dbtether.postgres.statement import Statement
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import EventType

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Context:
    resource: Resource
    spec: DatabaseSpec
    cluster: DBClusterSpec
    server: Server
    desired: DesiredDatabase
    users: Mapping[str, tuple[Key, ...]]
    """Those that ask for each grant group, by its name."""

    @property
    def beside(self) -> Beside:
        """The same for what restores have left beside it."""
        return Beside(self.resource, self.spec.cluster_ref.name, self.server, self.desired)


class DatabaseController(Controller):
    """Keeps a database as its Database resource wants it."""

    kind = "Database"

    async def ensure(self, resource: Resource) -> Outcome:
        """Create or repair the database. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(DatabaseSpec, resource)
        _refuse_another_name(resource, spec)
        cluster, server = await connected_server(self.world, spec.cluster_ref.name, resource.key.namespace)
        groups = await wanted_grant_groups(self.world, resource, spec, cluster, server.facts)
        desired = desired_database(resource, spec, cluster, self.world.store.installation)
        desired = replace(desired, grant_groups=tuple(groups))
        users = {group.name: users for group, users in groups.items()}
        async with server.lock(desired.roles.owner):
            context, observed = await self._observe(_Context(resource, spec, cluster, server, desired, users))
            desired = context.desired
            if await self._swapped_back(context, observed):
                return Again(0)
            if (blocked := first_blocked(GUARDS, desired, observed)) is not None:
                raise blocked
            if observed.database is None and desired.roles.owner in observed.roles:
                await _refuse_renamed(server, desired.name, desired.roles.owner)
            statements = plan(desired, observed)
            drift: tuple[Statement, ...] = ()
            if statements and spec.drift_policy is DriftPolicy.REPORT and is_adoption(desired, observed):
                await self._report_adoption(context, statements)
                return Done()
            if statements and _only_reports(context):
                asked = _grants_asked_for(context, observed)
                drift, statements = tuple(item for item in statements if item not in asked), asked
            if statements:
                await self._apply(context, observed, statements)
                self._wake_users(context, observed)
                if not self.world.executor.only_plans and (
                    not sees_everything(desired, observed)
                    # A user may have come to want meanwhile what was dropped.
                    or groups != await wanted_grant_groups(self.world, resource, spec, cluster, server.facts)
                ):
                    return Again(0)
            kept = await keep_replaced(self.world, context.beside)
            if drift:
                return await self._report_drift(context, observed, drift)
        await self._report_ready(context, observed, kept)
        return Done() if kept.next is None else Again(max((kept.next - self.world.now()).total_seconds(), 1.0))

    def made_nothing(self, resource: Resource) -> bool:
        """The name is recorded before the first statement is sent."""
        return resource.status.get("databaseName") is None

    async def delete(self, resource: Resource) -> None:
        """Drop the database with its roles where the policy says so. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(DatabaseSpec, resource)
        name = str(resource.status["databaseName"])
        if spec.deletion_policy is DeletionPolicy.RETAIN or released_to(resource) is not None:
            return
        if spec.deletion_protection and resource.annotations.get(CONFIRM_DELETE) != name:
            message = (
                f"Database {name} was kept on the server, as spec.deletionProtection wants: "
                f"annotate with {CONFIRM_DELETE}={name} to drop it"
            )
            logger.warning("%s: %s", resource.key, message)
            await self.world.store.record_event(resource, EventType.WARNING, "DeletionProtected", message)
            return
        cluster = spec.cluster_ref.name
        cluster_spec, server = await connected_server(self.world, cluster, resource.key.namespace, was_admitted=True)
        desired = replace(
            desired_database(resource, spec, cluster_spec, self.world.store.installation),
            name=name,
            roles=role_names(name),
        )
        async with server.lock(desired.roles.owner):
            await self._drop(_Context(resource, spec, cluster_spec, server, desired, {}))

    async def give_up(self, resource: Resource) -> str:
        """Let go of it; the database stays where it is."""
        return f"database {resource.status['databaseName']} with its roles on DBCluster {self.group(resource.key)}"

    async def _swapped_back(self, context: _Context, observed: ObservedDatabase) -> bool:
        """Whether a restore was undone, or the end of one made up for: then everything is looked at anew."""
        if self.world.executor.only_plans:
            return False
        if UNDO_RESTORE in context.resource.annotations:
            await undo_restore(self.world, context.beside)
            return True
        return await go_on_after_swap(self.world, context.beside, observed)

    async def _observe(self, context: _Context) -> tuple[_Context, ObservedDatabase]:
        """The database as it is, and what is wanted of it now that everybody asked has consented, or not."""
        resource, spec, server = context.resource, context.spec, context.server
        desired = without_leaving(self.world, resource, context.desired)
        outside = await look_from_outside(server, desired)
        owner = outside.roles.get(desired.roles.owner)
        found = parse_marker(owner.comment) if owner else None
        if (blocked := given_away(resource, f"Database {desired.name}", found)) is not None:
            raise blocked
        self._refuse_conflict(context, outside)
        known = known_owners(self.world, resource, context.cluster, desired, outside)
        desired = replace(desired, known_owners=known)
        adopts = await may_adopt(self.world, _claim(context), server.maintenance_database, desired, outside)
        revokes = spec.revoke_public_connect
        if revokes is None:
            revokes = not (adopts or was_adopted(resource, spec, outside))
        context = replace(context, desired=replace(desired, adopts=adopts, revoke_public_connect=revokes))
        # Never connect to a database before it is known to be ours, or given to us.
        if adopts or is_ours(desired, outside):
            observed = await look_inside(server, context.desired, outside)
            return context, await with_left_over(server, context.desired, observed, self.world.leaving)
        return context, outside

    def _wake_users(self, context: _Context, observed: ObservedDatabase) -> None:
        """Those that wait for a grant group that was made just now."""
        for name, users in context.users.items():
            if name not in observed.roles:
                for user in users:
                    self.world.wake(user)

    def _refuse_conflict(self, context: _Context, observed: ObservedDatabase) -> None:
        """First come, first served: whom the owner role is marked for, else who began first."""
        resource, desired = context.resource, context.desired
        owner = observed.roles.get(desired.roles.owner)
        if owner is not None and parse_marker(owner.comment) == desired.marker:
            return
        first = self.world.directory.holder(resource.key, context.spec.cluster_ref.name, desired.name)
        if first is None or releases_to(first, resource.key):
            return
        other = str(first.key) if first.key.namespace == resource.key.namespace else "a Database of another namespace"
        raise Blocked(
            "DatabaseConflict",
            f"{other} names database {desired.name} on the same DBCluster and was first: choose another "
            f"spec.databaseName, or delete one of the two",
        )

    async def _apply(self, context: _Context, observed: ObservedDatabase, statements: Sequence[Statement]) -> None:
        resource, desired = context.resource, context.desired
        is_new = observed.database is None
        await self._record(context, observed)

        async def plan_again() -> Sequence[Statement]:
            again, seen = await self._observe(context)
            return plan(again.desired, seen)

        try:
            await self.world.run(
                resource,
                context.spec.cluster_ref.name,
                context.server,
                statements,
                plan_again,
                creates=[name for name in desired.own_roles if name not in observed.roles],
            )
        except Blocked:
            if is_new:
                await self._undo(context)
            raise
        if self.world.executor.only_plans:
            if (former := previous_owner(desired, observed)) is not None:
                self.world.handed_over.add((context.spec.cluster_ref.name, desired.name, former))
        elif not is_new:
            await self._tell_repairs(resource, statements)

    async def _record(self, context: _Context, observed: ObservedDatabase) -> None:
        """Write down what is about to be made, so that a crash in between leaves nothing that nobody undoes."""
        resource, desired = context.resource, context.desired
        settings = sorted({name for name, _ in desired.settings} | desired.previous_settings)
        fields: dict[str, object] = {"databaseName": desired.name, "appliedSettings": settings}
        if resource.status.get("createdByUs") is None:
            fields["createdByUs"] = not (desired.adopts or was_adopted(resource, context.spec, observed))
        if observed.database is None or resource.status.get("databaseName") is None:
            is_new = observed.database is None
            phase = DatabasePhase.CREATING if is_new else resource.status.get("phase", DatabasePhase.CREATING)
            verb = "Adopting" if desired.adopts else "Creating"
            message = f"{verb} database {desired.name}"
            await self.world.write(resource, Report(phase, Level.PROGRESSING, "Creating", message, fields))
        elif settings != sorted(resource.status.get("appliedSettings", [])):
            await self.world.record(resource, {"appliedSettings": settings})

    async def _undo(self, context: _Context) -> None:
        """Take back the roles of a database that the server refused to create, so that nothing is half-made."""
        name, server = context.desired.name, context.server
        observed = await self._observe_drop(context)
        if observed.database is None:
            statements = plan_drop(name, context.desired.marker, context.desired.roles, observed)
            # What cannot be taken back now is found again by the next attempt, or by the deletion.
            with contextlib.suppress(Blocked, Retryable):
                await self.world.executor.run(context.resource.key, context.spec.cluster_ref.name, server, statements)

    async def _tell_repairs(self, resource: Resource, statements: Sequence[Statement]) -> None:
        if resource.status.get("phase") != DatabasePhase.READY:
            return
        more = f" and {len(statements) - 1} more" if len(statements) > 1 else ""
        await self.world.store.record_event(resource, EventType.NORMAL, "Changed", f"{statements[0].purpose}{more}")

    async def _report_ready(self, context: _Context, observed: ObservedDatabase, kept: Kept) -> None:
        message = f"Database {context.desired.name} is ready"
        adopted = context.desired.adopts or was_adopted(context.resource, context.spec, observed)
        notes = notes_on(context.desired, observed, adopted=adopted)
        message = "; ".join([message, *notes, *filter(None, [release_note(context.resource)])])
        fields = {
            "databaseName": context.desired.name,
            "ownershipTracked": True,
            "createdByUs": not adopted,
            "owner": wanted_owner(context.desired, observed),
            **extension_fields(context.desired, observed),
            **grant_fields(context.desired, observed),
            **kept.fields,
            "appliedSettings": [name for name, _ in context.desired.settings],
            "appliedGeneration": context.resource.generation,
            **NO_DRIFT,
        }
        await self.world.write(context.resource, Report(DatabasePhase.READY, Level.READY, "Ready", message, fields))

    async def _report_adoption(self, context: _Context, statements: Sequence[Statement]) -> None:
        """driftPolicy Report: say first what taking the database over would change."""
        lines = [statement.purpose for statement in statements]
        message = (
            f"Adopting database {context.desired.name} takes {len(lines)} steps, see status.drift: set "
            f"spec.driftPolicy to Repair to have exactly that done"
        )
        fields = {"drift": lines[:MAX_STATUS_ENTRIES], "driftCount": len(lines)}
        report = Report(DatabasePhase.WAITING, Level.STALLED, "AdoptionPlanned", message, fields)
        await self.world.write(context.resource, report)

    async def _report_drift(
        self, context: _Context, observed: ObservedDatabase, statements: Sequence[Statement]
    ) -> Outcome:
        """driftPolicy Report: say what differs and leave it."""
        resource = context.resource
        if observed.database is None:
            raise Blocked(
                "DriftDetected",
                f"Database {context.desired.name} is gone from the server: set spec.driftPolicy to Repair to have it "
                f"made anew, empty",
            )
        await report_drift(
            self.world,
            resource,
            f"Database {context.desired.name}",
            statements,
            {**extension_fields(context.desired, observed), **grant_fields(context.desired, observed)},
            "set spec.driftPolicy to Repair",
        )
        return Done()

    async def _drop(self, context: _Context) -> None:
        resource, desired, server = context.resource, context.desired, context.server
        name = desired.name

        async def plan_again() -> Sequence[Statement]:
            return plan_drop(name, desired.marker, desired.roles, await self._observe_drop(context))

        # Our own idle connections would hold the DROP back, and count as sessions.
        await server.pool.close_database(name)
        observed = await self._observe_drop(context)
        if observed.roles.get(desired.roles.owner) is not None:
            desired = replace(desired, known_owners=observed.known_owners)
            await drop_everything_beside(self.world, Beside(resource, context.spec.cluster_ref.name, server, desired))
        if (blocked := marker_lost(desired.marker, desired.roles, observed)) is not None:
            raise blocked
        statements = plan_drop(name, desired.marker, desired.roles, observed)
        if statements and observed.database is None:
            await _refuse_renamed(server, name, desired.roles.owner)
        if not statements:
            return
        if (blocked := foreign_session(name, observed)) is not None:
            raise blocked
        await self.world.run(resource, context.spec.cluster_ref.name, server, statements, plan_again)
        if self.world.executor.only_plans:
            return
        after = await self._observe_drop(context)
        if after.database is not None:
            raise Retryable("Retrying", f"Database {name} is still there; trying again")
        if plan_drop(name, desired.marker, desired.roles, after):
            # Its last login was dropped meanwhile, by a process that still saw the database.
            raise Retryable("Retrying", f"Roles of database {name} are still there; trying again")

    async def _observe_drop(self, context: _Context) -> ObservedDatabaseDrop:
        server, desired = context.server, context.desired
        sessions = await server.sessions(desired.name)
        users = [session.user for session in sessions if session.user]
        # What the spec names counts only when the database is really that role's.
        unnamed = replace(desired, owner=None, schemas=(), template="template0")
        outside = await look_from_outside(server, unnamed)
        known = known_owners(self.world, context.resource, context.cluster, unnamed, outside)
        shared = await server.shared([*desired.roles.all, *users], [desired.name])
        return ObservedDatabaseDrop(server.facts, shared.databases.get(desired.name), shared.roles, sessions, known)


async def _refuse_renamed(server: Server, name: str, owner: str) -> None:
    """The owner role knows its database under any name: an empty one beside it would hide the data."""
    owned = await server.databases_of_owner(owner)
    found = next((other for other in owned if run_beside(name, other) is None), None)
    if found is not None:
        raise Blocked(
            "DatabaseRenamed",
            f"Database {name} was renamed to {found} by hand: nothing was made or dropped; a DBA must run "
            f"ALTER DATABASE {quoted(found)} RENAME TO {quoted(name)}",
        )


def _claim(context: _Context) -> Claim:
    return Claim(
        context.resource,
        context.desired.marker,
        context.spec.cluster_ref.name,
        context.cluster,
        context.desired.name,
        wants_to_adopt(context.resource, context.spec),
        context.desired.roles.owner,
    )


def _refuse_another_name(resource: Resource, spec: DatabaseSpec) -> None:
    """The name is the identity: under another one, the first database would be forgotten."""
    known, wanted = resource.status.get("databaseName"), database_name(spec, resource.key.name)
    if known not in (None, wanted):
        raise Blocked(
            "ImmutableField",
            f"spec.databaseName: {known} cannot become {wanted}; put {known} back, or create another Database",
        )


def _only_reports(context: _Context) -> bool:
    return context.spec.drift_policy is DriftPolicy.REPORT and is_drift(context.resource)


def _grants_asked_for(context: _Context, observed: ObservedDatabase) -> tuple[Statement, ...]:
    """The statements for grant groups that are no drift: users came to ask for something else, or nobody does.

    While one of them waits for its table, none of them was applied to the end.
    """
    desired, status = context.desired, context.resource.status
    if grants_hash(desired.grant_groups) == status.get("appliedGrants") and not status.get("waitingGrants"):
        desired = replace(desired, grant_groups=())
    return plan_grant_groups(desired, observed)
