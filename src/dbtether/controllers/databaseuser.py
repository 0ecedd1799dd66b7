"""The controller of DatabaseUsers: the Secret first, then the login and its groups, then a login as the user."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dbtether.api.database import DatabasePhase
from dbtether.api.databaseuser import (
    DatabaseUserSpec,
    UserDatabaseStatus,
    databases_summary,
    privileges_summary,
    secret_names,
)
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.names import Marker, marker
from dbtether.api.references import DeletionPolicy
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check, validate_resource
from dbtether.controllers.adoption import release_note, released_to
from dbtether.controllers.base import Controller, Waiting, connected_server
from dbtether.controllers.drift import NO_DRIFT, report_drift
from dbtether.controllers.grants import refuse_unknown_privileges, wake_databases
from dbtether.controllers.report import Level, Report
from dbtether.controllers.rotation import logins_of, recorded_logins
from dbtether.controllers.userclaim import choose_name, possible_names, refuse_foreign_role
from dbtether.controllers.userdrop import drop_login
from dbtether.controllers.usergrants import refuse_by_guards, waiting_grants
from dbtether.controllers.userlogin import User, grant_roles, has_password, limit_login, observe_login, verify
from dbtether.controllers.usernotes import brought_along, gifts
from dbtether.controllers.userplaces import find_places, refuse_too_high, remaining_places
from dbtether.controllers.userrotation import (
    idle_statements,
    is_due,
    keep_idle,
    mark_of,
    new_password,
    rotate,
    rotation_fields,
    tell,
    until_next,
    with_login_in_force,
)
from dbtether.controllers.usersecrets import UserSecrets, write_credentials
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.roles.model import DesiredLogin, ObservedLogin, Role
from dbtether.postgres.roles.plan import plan
from dbtether.postgres.statement import Statement
from dbtether.runtime.reconcile import Done, Outcome
from dbtether.runtime.store import EventType


class DatabaseUserController(Controller):
    """Keeps a login, its privileges and its Secret as a DatabaseUser resource wants them."""

    kind = "DatabaseUser"

    async def ensure(self, resource: Resource) -> Outcome:
        """Create or repair the login. Raises Waiting, Retryable or Blocked."""
        try:
            user = await self._admitted(resource)
        except (Waiting, Blocked):
            await self._withdraw(resource)
            raise
        async with user.server.lock(f"login {user.name}"):
            observed = await self._observe_admitted(user)
            await self._record_claim(user)
            password = await UserSecrets(self.world.store, resource, user.spec).password(user.name)
            if password is None:
                password = await new_password(self.world, user, observed[user.login])
            user = with_login_in_force(self.world, user, password)
            secret = await write_credentials(self.world, user, password)
            role = observed[user.login].role
            desired = user.desired(None if await self._has_password(user, role, password) else password)
            statements = plan(desired, observed[user.login])
            differs = (*statements, *idle_statements(user, observed))
            if differs and user.only_reports(mark_of(self.world, user, password)):
                await self._report_drift(user, desired, observed[user.login], differs)
                return Done()
            changed = await self._converge(user, desired, observed[user.login], statements)
            await self._prove(user, password, changed=changed)
            user = await keep_idle(self.world, user, observed)
            if is_due(self.world, user, password):
                user, password, secret = await self._rotate(user, password)
        reported = await self._report_ready(user, observed[user.name], password, secret)
        return until_next(self.world, await tell(self.world, user, reported))

    async def give_back(self, resource: Resource) -> None:
        """A tenant may pause his user, but not keep access that was taken back. Raises Retryable or Blocked."""
        try:
            await self._admitted(resource)
        except (Waiting, Blocked):
            await self._withdraw(resource)

    def made_nothing(self, resource: Resource) -> bool:
        """The DBCluster is recorded before the Secret is written and the login made."""
        return not resource.status.get("clusterName")

    async def delete(self, resource: Resource) -> None:
        """Drop the login and its Secret where the policy says so. Raises Waiting, Retryable or Blocked.

        A login that is released to another resource is not this one's to drop, taken over or not.
        """
        spec = validate_resource(DatabaseUserSpec, resource)
        secrets = UserSecrets(self.world.store, resource, spec)
        if spec.deletion_policy is DeletionPolicy.RETAIN:
            await secrets.release()
            return
        cluster, name = str(resource.status["clusterName"]), str(resource.status["username"])
        logins = recorded_logins(resource.status)
        if released_to(resource) is not None:
            logins = tuple(login for login in logins if login != name)
        if not logins:
            await secrets.remove()
            return
        _, server = await connected_server(self.world, cluster, resource.key.namespace, was_admitted=True)
        async with server.lock(f"login {name}"):
            for login in logins:
                left = grant_roles((await server.shared([login])).roles.get(login))
                await drop_login(self.world, resource, cluster, server, login, self._marker(resource))
                wake_databases(self.world, resource, login, left)
        await secrets.remove()
        self.world.verified_logins.forget(resource.key)
        self.world.unproven_logins.discard(resource.key)
        self.world.checked_users.pop(resource.key, None)

    async def give_up(self, resource: Resource) -> str:
        """Let go of it: the login stays on the server, and where the policy is Delete the Secret goes."""
        spec = validate_resource(DatabaseUserSpec, resource)
        secrets = UserSecrets(self.world.store, resource, spec)
        await (secrets.release() if spec.deletion_policy is DeletionPolicy.RETAIN else secrets.remove())
        logins = " and ".join(recorded_logins(resource.status))
        return f"login {logins} on DBCluster {resource.status['clusterName']}"

    # -- what it may have -----------------------------------------------------------------------------

    async def _admitted(self, resource: Resource) -> User:
        """The user with its places. Raises Waiting, Retryable or Blocked while somebody does not admit it."""
        spec = validate_resource(DatabaseUserSpec, resource)
        possible_names(resource, spec)
        cluster_name, places = await find_places(self.world, resource, spec)
        cluster, server = await connected_server(self.world, cluster_name, resource.key.namespace)
        refuse_unknown_privileges(spec, server.facts)
        refuse_too_high(cluster, spec, places, resource.key.namespace)
        mark = self._marker(resource)
        name = await choose_name(server, cluster, resource, spec, mark)
        active = logins_of(resource, spec, name).active
        return User(resource, spec, cluster_name, cluster, server, places, name, mark, active)

    async def _withdraw(self, resource: Resource) -> None:
        """Take from the login of a refused user what it may have no longer. Raises Retryable or Blocked."""
        cluster_name, name = resource.status.get("clusterName"), resource.status.get("username")
        cluster = None if not cluster_name else await self.world.store.get(Key("DBCluster", "", cluster_name))
        cluster_spec = None if cluster is None else check(DBClusterSpec, cluster.key, cluster.spec)[0]
        if cluster_spec is None or not cluster_name or not name:
            return
        spec, problems = check(DatabaseUserSpec, resource.key, resource.spec)
        places = await remaining_places(self.world, resource, None if problems else spec, cluster_spec)
        if places is None:
            return
        try:
            _, server = await connected_server(self.world, cluster_name, resource.key.namespace, was_admitted=True)
        except Waiting:
            # The DBCluster wakes the user when it is there again; until then it hears why it is refused.
            return
        async with server.lock(f"login {name}"):
            for login in recorded_logins(resource.status):
                await limit_login(self.world, resource, cluster_name, server, login, self._marker(resource), places)

    def _marker(self, resource: Resource) -> Marker:
        return marker(resource.key.namespace, resource.key.name, self.world.store.installation)

    # -- the login ------------------------------------------------------------------------------------

    async def _observe_admitted(self, user: User) -> dict[str, ObservedLogin]:
        """The user's one or two logins. Raises Retryable or Blocked where one of them is not for us to change."""
        users = [replace(user, login=login) for login in user.logins.all]
        observed = await asyncio.gather(*map(self._observe, users))
        for each, found in zip(users, observed, strict=True):
            await refuse_foreign_role(self.world, each.claim, each.spec, found.role)
            await refuse_by_guards(self.world, each, found)
        return dict(zip(user.logins.all, observed, strict=True))

    async def _record_claim(self, user: User) -> None:
        """Before anything is made: a deletion must find the server even when the Database is gone by then."""
        fields = {"clusterName": user.cluster_name, "username": user.name}
        if user.logins.second is not None:
            fields["secondLogin"] = user.logins.second
        if all(user.resource.status.get(name) == value for name, value in fields.items()):
            return
        if user.resource.status.get("username") == user.name:
            await self.world.record(user.resource, fields)
            return
        message = f"Creating login {user.name}"
        report = Report(DatabasePhase.CREATING, Level.PROGRESSING, "Creating", message, fields)
        await self.world.write(user.resource, report)

    # -- Secret, login, proof -------------------------------------------------------------------------

    async def _rotate(self, user: User, password: str) -> tuple[User, str, str]:
        """Replace the password. What was done until now is kept in the status although that may fail."""
        try:
            return await rotate(self.world, user, password)
        except (Retryable, Blocked):
            await self.world.record(user.resource, {"appliedSettings": sorted(user.spec.settings) or None})
            raise

    async def _report_drift(
        self, user: User, desired: DesiredLogin, observed: ObservedLogin, statements: Sequence[Statement]
    ) -> None:
        """All of its Databases have driftPolicy Report: say what differs and leave it."""
        cure = (
            f"set spec.driftPolicy of {'its Database' if len(user.places) == 1 else 'one of its Databases'} to Repair"
        )
        if observed.role is None:
            raise Blocked("DriftDetected", f"Login {user.name} is gone from the server: {cure} to have it made anew")
        fields = {"loginVerified": desired.verifier is None and user.shut_out(self.world.now()) is None}
        await report_drift(self.world, user.resource, f"Login {user.name}", statements, fields, cure)

    async def _converge(
        self, user: User, desired: DesiredLogin, observed: ObservedLogin, statements: Sequence[Statement]
    ) -> bool:
        """Whether anything was changed on the server. Raises Retryable or Blocked."""

        async def plan_again() -> Sequence[Statement]:
            return plan(desired, await self._observe(user))

        if not statements:
            return False
        await self.world.run(user.resource, user.cluster_name, user.server, statements, plan_again)
        left = grant_roles(observed.role) - {item.role for item in desired.access}
        wake_databases(self.world, user.resource, desired.name, left)
        if observed.belongings is not None and not self.world.executor.only_plans:
            # What was handed over is granted to the other groups by the Databases.
            for place in user.places:
                self.world.wake(place.key)
        if user.resource.status.get("phase") == DatabasePhase.READY:
            more = f" and {len(statements) - 1} more" if len(statements) > 1 else ""
            text = f"{statements[0].purpose}{more}"
            await self.world.store.record_event(user.resource, EventType.NORMAL, "Changed", text)
        return True

    async def _observe(self, user: User) -> ObservedLogin:
        observed = await observe_login(self.world, user.cluster_name, user.server, user.login, user.places)
        if not user.is_adopting(observed.role):
            return observed
        belongings = await user.server.belongings(user.login)
        given = {
            database
            for cluster, database, role in self.world.handed_over
            if (cluster, role) == (user.cluster_name, user.login)
        }
        return replace(observed, belongings=belongings.without(given))

    async def _has_password(self, user: User, role: Role | None, password: str) -> bool:
        """Whether the server has the Secret's password; what has to be tried is tried every hour or two."""
        mark = mark_of(self.world, user, password)
        # Where the server shows its verifier, a new one is seen; comparing it costs a millisecond of work.
        proof = f"{mark} {role.verifier}" if role is not None and user.server.facts.is_superuser else mark
        if role is not None and user.shut_out(self.world.now()) and not user.server.facts.is_superuser:
            # Nobody can try it: what was set last is believed.
            return bool(user.resource.status.get("passwordFingerprint") == mark)
        if self.world.verified_logins.get(user.resource.key) == proof:
            return role is not None
        has = await has_password(user, role, password)
        if has:
            self.world.verified_logins[user.resource.key] = proof
        return has

    async def _prove(self, user: User, password: str, *, changed: bool) -> None:
        """Log in as the user when that was not proven yet. Raises Retryable or Blocked when it fails."""
        if self.world.executor.only_plans or user.shut_out(self.world.now()):
            return
        status, mark = user.resource.status, mark_of(self.world, user, password)
        is_proven = status.get("loginVerified") and status.get("passwordFingerprint") == mark
        is_proven = is_proven and user.resource.key not in self.world.unproven_logins
        if is_proven and not changed and status.get("phase") == DatabasePhase.READY:
            return
        await verify(user, password)
        self.world.unproven_logins.discard(user.resource.key)
        self.world.verified_logins[user.resource.key] = mark

    async def _report_ready(self, user: User, observed: ObservedLogin, password: str, secret: str) -> Resource:
        resource = user.resource
        names = secret_names(user.spec, resource.key.namespace, resource.key.name)
        waiting = {place: await waiting_grants(self.world, place) for place in user.places}
        databases = [
            UserDatabaseStatus(
                name=place.target.name,
                namespace=place.target.namespace,
                database_name=place.database,
                phase=DatabasePhase.READY,
                privileges=place.target.privileges,
                grant_role=place.grant_role,
                message=waiting[place],
                secret_name=names[(place.target.namespace, place.target.name)],
            ).dump()
            for place in user.places
        ]
        shut_out = user.shut_out(self.world.now())
        fields: dict[str, object] = {
            "clusterName": user.cluster_name,
            "username": user.name,
            "databases": databases[:MAX_STATUS_ENTRIES],
            "databasesCount": len(databases),
            "moreSecrets": sorted({str(entry["secretName"]) for entry in databases[MAX_STATUS_ENTRIES:]} - {secret}),
            "databasesSummary": databases_summary(tuple(place.target.name for place in user.places)),
            "privilegesSummary": str(privileges_summary(tuple(place.target for place in user.places))),
            "secretName": secret,
            "appliedSettings": sorted(user.spec.settings),
            "appliedGeneration": resource.generation,
            **NO_DRIFT,
            "loginVerified": shut_out is None,
            **rotation_fields(self.world, user, password),
        }
        if user.spec.adopt:
            fields["adopted"] = True
        if observed.belongings is not None:
            fields["broughtAlong"] = brought_along(user.desired(), observed)
        message = f"Login {user.login} works; its credentials are in Secret {secret}"
        if shut_out is not None:
            message = f"Login {user.login} is as the spec wants it, but nobody can log in with it: {shut_out}"
        message = "; ".join([message, *_notes(user, observed, fields)])
        reason = "Ready"
        incomplete = [f"{place.database}: {phrase}" for place, phrase in waiting.items() if phrase]
        if incomplete:
            reason = "GrantsIncomplete"
            message += f"; of spec.additionalGrants, granted as soon as it can be: {'; '.join(incomplete)}"
        report = Report(DatabasePhase.READY, Level.READY, reason, message, fields, warns=bool(incomplete))
        return await self.world.write(resource, report)


def _notes(user: User, observed: ObservedLogin, fields: Mapping[str, object]) -> list[str]:
    """What a person should know although the login is ready."""
    notes = gifts(user.desired(), observed)
    if fields.get("broughtAlong", user.resource.status.get("broughtAlong")):
        notes.append("what it was adopted with and keeps stands in status.broughtAlong")
    if (note := release_note(user.resource)) is not None:
        notes.append(note)
    return notes
