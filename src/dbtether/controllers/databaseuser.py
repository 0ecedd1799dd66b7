"""The controller of DatabaseUsers: the Secret first, then the login and its groups, then a login as the user."""

from dataclasses import dataclass

from dbtether.api.database import DatabasePhase, DatabaseSpec, database_name
from dbtether.api.databaseuser import (
    DatabaseUserSpec,
    Target,
    UserDatabaseStatus,
    databases_summary,
    secret_names,
    username,
)
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.names import Group, marker, parse_marker
from dbtether.api.references import DeletionPolicy, Privileges
from dbtether.api.resource import Key, Resource
from dbtether.api.secret_keys import Login as ClientLogin
from dbtether.api.times import parse_instant
from dbtether.api.validation import validate_resource
from dbtether.controllers.base import Controller, Waiting, connected_server
from dbtether.controllers.report import Level, Report
from dbtether.controllers.userdrop import drop_login
from dbtether.controllers.usersecrets import UserSecrets
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.guards import first_blocked
from dbtether.postgres.login import Login, LoginResult, try_login
from dbtether.postgres.passwords import fingerprint, matches, scram_verifier
from dbtether.postgres.roles.guards import GUARDS
from dbtether.postgres.roles.model import Access, DesiredLogin, ObservedLogin, Role, role_names
from dbtether.postgres.roles.plan import plan, switches_role
from dbtether.postgres.server.access import Server
from dbtether.runtime.reconcile import Done, Outcome
from dbtether.runtime.store import EventType

_GROUPS = {
    Privileges.READONLY: Group.READONLY,
    Privileges.READWRITE: Group.READWRITE,
    Privileges.ADMIN: Group.ADMIN,
}


@dataclass(frozen=True, slots=True)
class Place:
    """A target of a user with the database behind it."""

    target: Target
    database: str
    """Its name in PostgreSQL."""


@dataclass(frozen=True, slots=True)
class _Context:
    resource: Resource
    spec: DatabaseUserSpec
    cluster_name: str
    cluster: DBClusterSpec
    server: Server
    places: tuple[Place, ...]
    name: str
    fingerprint: str
    password: str
    secret: str

    def __repr__(self) -> str:
        return f"_Context({self.resource.key}, {self.name!r})"


class DatabaseUserController(Controller):
    """Keeps a login, its privileges and its Secret as a DatabaseUser resource wants them."""

    kind = "DatabaseUser"

    async def ensure(self, resource: Resource) -> Outcome:
        """Create or repair the login. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(DatabaseUserSpec, resource)
        _refuse_unsupported(spec)
        cluster_name, places = await self._places(resource, spec)
        cluster, server = await connected_server(self.world, cluster_name, resource.key.namespace)
        _refuse_too_high(cluster, places, resource.key.namespace)
        name = username(spec, resource.key.name)
        async with server.lock(f"login {name}"):
            observed = await self._observe(cluster_name, server, name, places)
            self._refuse_foreign_role(resource, observed.role, cluster_name, name)
            resource = await self._record_cluster(resource, cluster_name, name)
            context = await self._with_password(resource, spec, cluster_name, cluster, server, places, name)
            changed = await self._converge(context, observed)
            await self._verify(context, changed=changed)
        await self._report_ready(context)
        return Done()

    async def delete(self, resource: Resource) -> None:
        """Drop the login and its Secret where the policy says so. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(DatabaseUserSpec, resource)
        secrets = UserSecrets(self.world.store, resource, spec)
        if spec.deletion_policy is DeletionPolicy.RETAIN:
            await secrets.release()
            return
        cluster_name = resource.status.get("clusterName")
        if isinstance(cluster_name, str) and cluster_name:
            _, server = await connected_server(self.world, cluster_name, resource.key.namespace)
            name = username(spec, resource.key.name)
            mark = marker(resource.key.namespace, resource.key.name, self.world.store.installation)
            async with server.lock(f"login {name}"):
                await drop_login(self.world.executor, resource.key, cluster_name, server, name, mark)
        await secrets.remove()

    # -- what the user refers to ----------------------------------------------------------------------

    async def _places(self, resource: Resource, spec: DatabaseUserSpec) -> tuple[str, tuple[Place, ...]]:
        """The cluster and the databases. Raises Waiting until all are Ready, Blocked for two clusters."""
        clusters: dict[str, str] = {}
        places: list[Place] = []
        for target in spec.targets(resource.key.namespace):
            database, database_spec = await self._database(resource, target)
            clusters[database_spec.cluster_ref.name] = str(database.key)
            if not _is_ready(database):
                why = database.status.get("message")
                raise Waiting("DatabaseNotReady", f"{database.key} is not ready" + (f": {why}" if why else ""))
            places.append(Place(target, database_name(database_spec, database.key.name)))
        if len(clusters) > 1:
            first, second, *_ = clusters.values()
            raise Blocked(
                "InvalidSpec", f"spec.databases: {first} and {second} are on different DBClusters; use a user for each"
            )
        return next(iter(clusters)), tuple(places)

    async def _database(self, resource: Resource, target: Target) -> tuple[Resource, DatabaseSpec]:
        key = Key("Database", target.namespace, target.name)
        database = await self.world.store.get(key)
        spec = None
        if database is not None:
            try:
                spec = validate_resource(DatabaseSpec, database)
            except Blocked:
                raise Waiting("DatabaseNotReady", f"{key} is not valid: see its status") from None
        namespace = resource.key.namespace
        if database is None or spec is None or not spec.allows(target.namespace, namespace):
            # One sentence for both: a refusal does not tell whether the target exists.
            refused = "" if target.namespace == namespace else f' or does not allow the namespace "{namespace}"'
            raise Waiting("DatabaseNotFound", f"{key} does not exist{refused}")
        if database.deleted is not None:
            raise Waiting("DatabaseNotReady", f"{key} is being deleted")
        return database, spec

    def _refuse_foreign_role(self, resource: Resource, role: Role | None, cluster: str, name: str) -> None:
        """Before a Secret is written: a role that is another's, or that another resource named first."""
        mark = marker(resource.key.namespace, resource.key.name, self.world.store.installation)
        if role is not None and parse_marker(role.comment) == mark:
            return
        rivals = self.world.directory.rivals(resource.key, cluster, name)
        first = rivals[0] if rivals else None
        if first is not None and (role is not None or (first.created, first.key) < (resource.created, resource.key)):
            same = first.key.namespace == resource.key.namespace
            other = str(first.key) if same else "a DatabaseUser of another namespace"
            raise Blocked(
                "RoleConflict",
                f"{other} names role {name} on the same DBCluster and was first: choose another "
                f"spec.username, or delete one of the two",
            )
        if role is not None:
            raise Blocked(
                "RoleNotOurs",
                f"Role {name} exists already and was not made for this resource: nothing was changed; "
                f"choose another spec.username",
            )

    async def _record_cluster(self, resource: Resource, cluster: str, name: str) -> Resource:
        """Before anything is made: a deletion must find the server even when the Database is gone by then."""
        if (resource.status.get("clusterName"), resource.status.get("username")) == (cluster, name):
            return resource
        fields = {"clusterName": cluster, "username": name}
        report = Report(DatabasePhase.CREATING, Level.PROGRESSING, "Creating", f"Creating login {name}", fields)
        return await self.world.write(resource, report)

    # -- Secret, login, proof -------------------------------------------------------------------------

    async def _with_password(
        self,
        resource: Resource,
        spec: DatabaseUserSpec,
        cluster_name: str,
        cluster: DBClusterSpec,
        server: Server,
        places: tuple[Place, ...],
        name: str,
    ) -> _Context:
        """The password in force, in its Secrets before the role can get it."""
        sslmode, ca = await self.world.servers.client_tls(cluster)
        secrets = UserSecrets(self.world.store, resource, spec)
        password = await secrets.password(name)
        client = ClientLogin(
            host=cluster.endpoint,
            port=cluster.port,
            database=places[0].database,
            user=name,
            password=password.text,
            sslmode=sslmode,
            ca=ca,
        )
        written = await secrets.write(client, [(place.target, place.database) for place in places])
        mark = fingerprint(self.world.store.fingerprint_key, name, password.text)
        return _Context(resource, spec, cluster_name, cluster, server, places, name, mark, password.text, written)

    async def _converge(self, context: _Context, observed: ObservedLogin) -> bool:
        """Whether anything was changed on the server. Raises Retryable or Blocked."""
        desired = self._desired(context, set_password=not await self._password_is_set(context, observed.role))
        if (blocked := first_blocked(GUARDS, desired, observed)) is not None:
            if blocked.reason == "DatabaseNotReady":
                raise Waiting(blocked.reason, blocked.message)
            raise blocked
        statements = plan(desired, observed)
        await self.world.executor.run(context.resource.key, context.cluster_name, context.server, statements)
        if statements and context.resource.status.get("phase") == DatabasePhase.READY:
            more = f" and {len(statements) - 1} more" if len(statements) > 1 else ""
            await self.world.store.record_event(
                context.resource, EventType.NORMAL, "Changed", f"{statements[0].purpose}{more}"
            )
        return bool(statements)

    async def _observe(self, cluster: str, server: Server, name: str, places: tuple[Place, ...]) -> ObservedLogin:
        groups = [group for place in places for group in role_names(place.database).all]
        shared = await server.shared([name, *groups], [place.database for place in places])
        return ObservedLogin(
            server.facts,
            shared.roles.get(name),
            {**self.world.executor.assumed_roles(cluster), **shared.roles},
            {found.name: found.acl for found in shared.databases.values()},
            {found.name: found.owner for found in shared.databases.values()},
        )

    def _desired(self, context: _Context, *, set_password: bool) -> DesiredLogin:
        spec, resource = context.spec, context.resource
        access = tuple(Access(place.database, _GROUPS[place.target.privileges]) for place in context.places)
        return DesiredLogin(
            name=context.name,
            marker=marker(resource.key.namespace, resource.key.name, self.world.store.installation),
            access=access,
            verifier=scram_verifier(context.password, context.name) if set_password else None,
            connection_limit=spec.connection_limit,
            valid_until=None if spec.valid_until is None else parse_instant(spec.valid_until),
            settings=tuple(sorted(spec.settings.items())),
            previous_settings=frozenset(resource.status.get("appliedSettings", ())),
        )

    async def _password_is_set(self, context: _Context, role: Role | None) -> bool:
        """Whether the server has the Secret's password: read as a superuser, else tried once a process."""
        if role is None:
            return False
        if context.server.facts.is_superuser:
            return matches(role.verifier, context.password)
        if self.world.verified_logins.get(context.resource.key) == context.fingerprint:
            return True
        found = await self._try(context, context.places[0])
        if found.result is LoginResult.UNREACHABLE:
            raise Retryable(
                "ConnectionFailed", f"Could not try the login {context.name}: {found.message}; trying again"
            )
        if found.result is LoginResult.WORKS:
            self.world.verified_logins[context.resource.key] = context.fingerprint
        return found.result is not LoginResult.WRONG_PASSWORD

    async def _try(self, context: _Context, place: Place) -> Login:
        names = role_names(place.database)
        desired = self._desired(context, set_password=False)
        item = Access(place.database, _GROUPS[place.target.privileges])
        switches = switches_role(desired, item, context.server.facts)
        works_as = names.groups[item.group] if switches else context.name
        return await try_login(context.server.parameters, context.name, context.password, place.database, works_as)

    async def _verify(self, context: _Context, *, changed: bool) -> None:
        """Log in to every database as the user would. Raises Retryable or Blocked when that fails."""
        if self.world.executor.only_plans:
            return
        status = context.resource.status
        is_proven = status.get("loginVerified") and status.get("passwordFingerprint") == context.fingerprint
        if is_proven and not changed and status.get("phase") == DatabasePhase.READY:
            return
        for place in context.places:
            found = await self._try(context, place)
            if found.result is not LoginResult.WORKS:
                raise _login_failure(context.name, place.database, found)
        self.world.verified_logins[context.resource.key] = context.fingerprint

    async def _report_ready(self, context: _Context) -> None:
        resource = await self.world.store.get(context.resource.key)
        if resource is None:
            return
        levels = {place.target.privileges for place in context.places}
        names = secret_names(context.spec, resource.key.namespace, resource.key.name)
        databases = [
            UserDatabaseStatus(
                name=place.target.name,
                namespace=place.target.namespace,
                database_name=place.database,
                phase=DatabasePhase.READY,
                privileges=place.target.privileges,
                secret_name=names[(place.target.namespace, place.target.name)],
            ).dump()
            for place in context.places
        ]
        fields: dict[str, object] = {
            "clusterName": context.cluster_name,
            "username": context.name,
            "databases": databases[:MAX_STATUS_ENTRIES],
            "databasesCount": len(databases),
            "databasesSummary": databases_summary(tuple(place.target.name for place in context.places)),
            "privilegesSummary": levels.pop().value if len(levels) == 1 else "mixed",
            "secretName": context.secret,
            "appliedSettings": sorted(context.spec.settings),
            "loginVerified": True,
            "passwordFingerprint": context.fingerprint,
        }
        if resource.status.get("passwordFingerprint") != context.fingerprint:
            fields["passwordUpdatedAt"] = self.world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        message = f"Login {context.name} works; its credentials are in Secret {context.secret}"
        await self.world.write(resource, Report(DatabasePhase.READY, Level.READY, "Ready", message, fields))


def _is_ready(database: Resource) -> bool:
    return (
        database.status.get("phase") == DatabasePhase.READY
        and database.status.get("observedGeneration") == database.generation
    )


def _refuse_too_high(cluster: DBClusterSpec, places: tuple[Place, ...], namespace: str) -> None:
    limit = cluster.privileges_limit(namespace)
    if limit is None:
        return
    for place in places:
        if place.target.privileges.rank > limit.rank:
            raise Blocked(
                "PrivilegesTooHigh",
                f"{place.target.privileges} on database {place.database}: the DBCluster allows at most "
                f"{limit} for users of namespace {namespace} (its spec.maxPrivileges)",
            )


def _refuse_unsupported(spec: DatabaseUserSpec) -> None:
    """A field that asks for what this version cannot do is never passed over in silence."""
    wanted = []
    if spec.additional_grants:
        wanted.append("spec.additionalGrants")
    if spec.rotation is not None:
        wanted.append("spec.rotation")
    if spec.adopt:
        wanted.append("spec.adopt")
    if wanted:
        raise Blocked("UnsupportedField", f"{', '.join(wanted)}: this version cannot do that yet; leave it out")


def _login_failure(name: str, database: str, found: Login) -> Blocked | Retryable:
    text = f"The login {name} was made, but does not work on database {database}: {found.message}"
    if found.result is LoginResult.UNREACHABLE or found.sqlstate in ("53300", "57P03"):
        return Retryable("LoginFailed", f"{text}; trying again")
    hint = {
        "28000": "; let it in by a line in the server's pg_hba.conf",
        "28P01": "; the server refuses the password it was just given (a proxy or another authentication method?)",
    }.get(found.sqlstate or "", "")
    return Blocked("LoginFailed", f"{text}{hint}")
