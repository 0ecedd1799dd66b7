"""The controller of DatabaseUsers: the Secret first, then the login and its groups, then a login as the user."""

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
from dbtether.api.secret_keys import Login as ClientLogin
from dbtether.api.validation import check, validate_resource
from dbtether.controllers.adoption import released_to
from dbtether.controllers.base import Controller, Waiting, connected_server
from dbtether.controllers.drift import NO_DRIFT, report_drift
from dbtether.controllers.grants import refuse_unknown_privileges, wake_databases
from dbtether.controllers.report import Level, Report
from dbtether.controllers.userclaim import choose_name, possible_names, refuse_foreign_role
from dbtether.controllers.userdrop import drop_login
from dbtether.controllers.usergrants import refuse_by_guards, waiting_grants
from dbtether.controllers.userlogin import User, grant_roles, has_password, limit_login, observe_login, verify
from dbtether.controllers.usernotes import brought_along, gifts
from dbtether.controllers.userplaces import find_places, refuse_too_high, remaining_places
from dbtether.controllers.usersecrets import UserSecrets
from dbtether.errors import Blocked
from dbtether.postgres.passwords import fingerprint
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
            observed = await self._observe(user)
            await refuse_foreign_role(self.world, user.claim, user.spec, observed.role)
            await refuse_by_guards(self.world, user, observed)
            await self._record_claim(user)
            password, secret = await self._write_secrets(user)
            desired = user.desired(None if await self._has_password(user, observed.role, password) else password)
            statements = plan(desired, observed)
            if statements and user.only_reports(self._fingerprint(user, password)):
                await self._report_drift(user, desired, observed, statements)
                return Done()
            changed = await self._converge(user, desired, observed, statements)
            await self._prove(user, password, changed=changed)
        await self._report_ready(user, observed, password, secret)
        return Done()

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
        if released_to(resource) is not None:
            await secrets.remove()
            return
        cluster, name = str(resource.status["clusterName"]), str(resource.status["username"])
        _, server = await connected_server(self.world, cluster, resource.key.namespace, was_admitted=True)
        async with server.lock(f"login {name}"):
            await drop_login(self.world, resource, cluster, server, name, self._marker(resource))
        await secrets.remove()
        self.world.verified_logins.forget(resource.key)
        self.world.checked_users.pop(resource.key, None)
        wake_databases(self.world, resource)

    async def give_up(self, resource: Resource) -> str:
        """Let go of it: the login stays on the server, and where the policy is Delete the Secret goes."""
        spec = validate_resource(DatabaseUserSpec, resource)
        secrets = UserSecrets(self.world.store, resource, spec)
        await (secrets.release() if spec.deletion_policy is DeletionPolicy.RETAIN else secrets.remove())
        return f"login {resource.status.get('username')} on DBCluster {resource.status['clusterName']}"

    # -- what it may have -----------------------------------------------------------------------------

    async def _admitted(self, resource: Resource) -> User:
        """The user with its places. Raises Waiting, Retryable or Blocked while somebody does not admit it."""
        spec = validate_resource(DatabaseUserSpec, resource)
        _refuse_unsupported(spec)
        possible_names(resource, spec)
        cluster_name, places = await find_places(self.world, resource, spec)
        cluster, server = await connected_server(self.world, cluster_name, resource.key.namespace)
        refuse_unknown_privileges(spec, server.facts)
        refuse_too_high(cluster, spec, places, resource.key.namespace)
        mark = self._marker(resource)
        name = await choose_name(server, cluster, resource, spec, mark)
        return User(resource, spec, cluster_name, cluster, server, places, name, mark)

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
            await limit_login(self.world, resource, cluster_name, server, name, self._marker(resource), places)

    def _marker(self, resource: Resource) -> Marker:
        return marker(resource.key.namespace, resource.key.name, self.world.store.installation)

    # -- Secret, login, proof -------------------------------------------------------------------------

    async def _record_claim(self, user: User) -> None:
        """Before anything is made: a deletion must find the server even when the Database is gone by then."""
        fields = {"clusterName": user.cluster_name, "username": user.name}
        if all(user.resource.status.get(name) == value for name, value in fields.items()):
            return
        message = f"Creating login {user.name}"
        report = Report(DatabasePhase.CREATING, Level.PROGRESSING, "Creating", message, fields)
        await self.world.write(user.resource, report)

    async def _write_secrets(self, user: User) -> tuple[str, str]:
        """The password in force and the name of the first Secret: it stands there before the role can get it."""
        sslmode, ca = await self.world.servers.client_tls(user.cluster)
        secrets = UserSecrets(self.world.store, user.resource, user.spec)
        password = await secrets.password(user.name)
        client = ClientLogin(
            host=user.cluster.endpoint,
            port=user.cluster.port,
            database=user.places[0].database,
            user=user.name,
            password=password,
            sslmode=sslmode,
            ca=ca,
        )
        return password, await secrets.write(client, [(place.target, place.database) for place in user.places])

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
        if grant_roles(observed.role) - {item.role for item in desired.access}:
            wake_databases(self.world, user.resource)
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
        observed = await observe_login(self.world, user.cluster_name, user.server, user.name, user.places)
        if not user.is_adopting(observed.role):
            return observed
        return replace(observed, belongings=await user.server.belongings(user.name))

    def _fingerprint(self, user: User, password: str) -> str:
        return fingerprint(self.world.store.fingerprint_key, user.name, password)

    async def _has_password(self, user: User, role: Role | None, password: str) -> bool:
        """Whether the server has the Secret's password; what has to be tried is tried every hour or two."""
        mark = self._fingerprint(user, password)
        if role is not None and user.shut_out(self.world.now()) and not user.server.facts.is_superuser:
            # Nobody can try it: what was set last is believed.
            return bool(user.resource.status.get("passwordFingerprint") == mark)
        if not user.server.facts.is_superuser and self.world.verified_logins.get(user.resource.key) == mark:
            return role is not None
        has = await has_password(user, role, password)
        if has:
            self.world.verified_logins[user.resource.key] = mark
        return has

    async def _prove(self, user: User, password: str, *, changed: bool) -> None:
        """Log in as the user when that was not proven yet. Raises Retryable or Blocked when it fails."""
        if self.world.executor.only_plans or user.shut_out(self.world.now()):
            return
        status, mark = user.resource.status, self._fingerprint(user, password)
        is_proven = status.get("loginVerified") and status.get("passwordFingerprint") == mark
        if is_proven and not changed and status.get("phase") == DatabasePhase.READY:
            return
        await verify(user, password)
        self.world.verified_logins[user.resource.key] = mark

    async def _report_ready(self, user: User, observed: ObservedLogin, password: str, secret: str) -> None:
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
        shut_out, mark = user.shut_out(self.world.now()), self._fingerprint(user, password)
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
            "passwordFingerprint": mark,
        }
        if user.spec.adopt:
            fields["adopted"] = True
        if observed.belongings is not None:
            fields["broughtAlong"] = brought_along(user.desired(), observed)
        if resource.status.get("passwordFingerprint") != mark:
            fields["passwordUpdatedAt"] = self.world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        message = f"Login {user.name} works; its credentials are in Secret {secret}"
        if shut_out is not None:
            message = f"Login {user.name} is as the spec wants it, but nobody can log in with it: {shut_out}"
        message = "; ".join([message, *_notes(user, observed, fields)])
        reason = "Ready"
        incomplete = [f"{place.database}: {phrase}" for place, phrase in waiting.items() if phrase]
        if incomplete:
            reason = "GrantsIncomplete"
            message += f"; of spec.additionalGrants, granted as soon as it can be: {'; '.join(incomplete)}"
        report = Report(DatabasePhase.READY, Level.READY, reason, message, fields, warns=bool(incomplete))
        await self.world.write(resource, report)


def _notes(user: User, observed: ObservedLogin, fields: Mapping[str, object]) -> list[str]:
    """What a person should know although the login is ready."""
    notes = gifts(user.desired(), observed)
    if fields.get("broughtAlong", user.resource.status.get("broughtAlong")):
        notes.append("what it was adopted with and keeps stands in status.broughtAlong")
    if (to := released_to(user.resource)) is not None:
        notes.append(f"it goes to DatabaseUser {to} as soon as that one asks for it by spec.adopt")
    return notes


def _refuse_unsupported(spec: DatabaseUserSpec) -> None:
    """A field that asks for what this version cannot do is never passed over in silence."""
    wanted = []
    if spec.rotation is not None:
        wanted.append("spec.rotation")
    if wanted:
        raise Blocked("UnsupportedField", f"{', '.join(wanted)}: this version cannot do that yet; leave it out")
