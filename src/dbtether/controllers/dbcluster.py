"""The controller of DBClusters: connects, tells the version, and what the admin lacks."""

from typing import Any, Never

from dbtether.api.dbcluster import DBClusterPhase, DBClusterSpec, MissingPrivilege, Severity
from dbtether.api.kinds import CONFIRM_SERVER
from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_text
from dbtether.api.validation import check, validate_resource
from dbtether.controllers.backuprun import plan_sweep
from dbtether.controllers.base import Controller, Waiting
from dbtether.controllers.report import Level, Report
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.server.access import Server
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.server.preflight import Lack, Preflight
from dbtether.runtime.reconcile import Again, Outcome

_NAMED = 2
"""How many missing privileges a message names."""


class DBClusterController(Controller):
    """Keeps a DBCluster's status true to its server."""

    kind = "DBCluster"

    async def ensure(self, resource: Resource) -> Outcome:
        """Connect and report. Raises Retryable or Blocked."""
        spec = validate_resource(DBClusterSpec, resource)
        server, identity = await self._look(resource, spec)
        facts = server.facts
        preflight = await server.preflight(self.world.store.installation, MAX_STATUS_ENTRIES)
        message = f"Connected to PostgreSQL {facts.version} as {facts.admin}{_standby(facts)}{_lacking(preflight)}"
        status = {
            "postgresVersion": facts.version,
            "superuser": facts.is_superuser,
            "missingPrivileges": [_missing(lack) for lack in preflight.lacks],
            "missingPrivilegesCount": preflight.total or None,
            "serverIdentity": identity,
        }
        if resource.status.get("phase") != DBClusterPhase.CONNECTED or any(
            (resource.status.get(name) or None) != (value or None) for name, value in status.items()
        ):
            status["lastCheckTime"] = instant_text(self.world.now())
        await self.world.write(resource, Report(DBClusterPhase.CONNECTED, Level.READY, "Connected", message, status))
        sweep = await plan_sweep(server, self.world.store.installation)
        await self.world.executor.run(resource.key, resource.key.name, server, sweep)
        await server.pool.close_idle()
        return Again(spec.check_interval.seconds)

    def phase(self, resource: Resource, wanted: str) -> str:
        """A DBCluster that waits for its users to go is Connected: they still need it."""
        return DBClusterPhase.FAILED if wanted == "Failed" else DBClusterPhase.CONNECTED

    def made_nothing(self, resource: Resource) -> bool:
        """Never: others may need it, and its connections are open."""
        return False

    async def delete(self, resource: Resource) -> None:
        """Let it go once nothing uses it. Raises Waiting while something does."""
        users = await self._users(resource)
        if users:
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            await self._wait_for_users(resource, f"{resource.key} is used by {users[0]}{more}: delete those first")
        await self.world.servers.close(resource.key.name)

    async def _wait_for_users(self, resource: Resource, message: str) -> Never:
        """Stay connected: what the users made is on the server, and their deletions go on only when it is there."""
        try:
            spec = validate_resource(DBClusterSpec, resource)
            _, identity = await self._look(resource, spec)
        except Blocked as error:
            raise Blocked(error.reason, f"{message}; {error.message}") from None
        except Retryable as error:
            raise Retryable(error.reason, f"{message}; {error.message}") from None
        await self.world.record(resource, {"serverIdentity": identity})
        raise Waiting("InUse", message, again_seconds=spec.check_interval.seconds)

    async def _look(self, resource: Resource, spec: DBClusterSpec) -> tuple[Server, str | None]:
        """The server with its facts as they are now, and its identity. Raises Retryable or Blocked."""
        server = await self.world.servers.of(resource, spec)
        return server, _identity(resource, await server.refresh())

    async def give_up(self, resource: Resource) -> str:
        """Let it go although it is used; what the Databases and DatabaseUsers made stays on the server."""
        users = await self._users(resource)
        await self.world.servers.close(resource.key.name)
        return f"what {len(users)} Databases and DatabaseUsers made on {resource.spec.get('endpoint')}"

    async def _users(self, resource: Resource) -> list[Key]:
        """Who needs it: whoever made something on it, and whoever may."""
        spec, _ = check(DBClusterSpec, resource.key, resource.spec)
        users = []
        for user in self.world.directory.users_of_cluster(resource.key.name):
            labels = await self.world.namespace_labels(user.key.namespace)
            made_something = user.status.get("databaseName") or user.status.get("clusterName")
            if made_something or (spec is not None and spec.allows(user.key.namespace, labels)):
                users.append(user.key)
        return users


def _standby(facts: ServerFacts) -> str:
    """A status that changes with the failover wakes what is Blocked on a standby."""
    return ", a standby that takes no changes: point spec.endpoint at the primary" if facts.is_in_recovery else ""


def _missing(lack: Lack) -> dict[str, Any]:
    severity = Severity.REQUIRED if lack.is_required else Severity.ADVICE
    return MissingPrivilege(
        privilege=lack.privilege, severity=severity, purpose=lack.purpose, statement=lack.statement
    ).dump()


def _lacking(preflight: Preflight) -> str:
    """What keeps work from being done, for the message; advice stands in the status alone."""
    if not preflight.required:
        return ""
    listed = ", ".join(lack.privilege for lack in preflight.lacks[: min(_NAMED, preflight.required)])
    more = preflight.required - min(_NAMED, preflight.required)
    return f"; the admin lacks {listed}" + (f" and {more} more" if more else "") + ": see status.missingPrivileges"


def _identity(resource: Resource, facts: ServerFacts) -> str | None:
    """The server's identity, unless it is another than the one on record. Raises Blocked then."""
    known = resource.status.get("serverIdentity")
    found = facts.system_identifier or None
    if known is None or found is None or known == found:
        return found or known
    if resource.annotations.get(CONFIRM_SERVER) == found:
        return found
    raise Blocked(
        "ServerChanged",
        f"The endpoint leads to another server than before (identity {found}, was {known}): nothing is changed on it; "
        f"if that is meant, annotate the DBCluster with {CONFIRM_SERVER}={found}",
    )
