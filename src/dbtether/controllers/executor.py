"""What happens to a plan: it is run (`dbtether apply`, the operator) or only written down (`dbtether plan`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dbtether.api.resource import Key
from dbtether.controllers.glance import act
from dbtether.errors import Blocked
from dbtether.postgres.roles.model import Role
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement


class Executor(Protocol):
    """Takes the statements that a controller has planned and guarded."""

    @property
    def only_plans(self) -> bool:
        """Whether the server stays as it is: then nothing is verified on it afterwards."""
        ...

    @property
    def may_write(self) -> bool:
        """Whether anything at all may be written anywhere outside, be it a probe."""
        ...

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        """Take the statements; `creates` names roles that exist afterwards. Raises Retryable or Blocked."""
        ...

    async def rehearse(self, key: Key, server: Server, statements: Sequence[Statement]) -> None:
        """Find out whether the server takes the statements, and leave it as it is. Raises Retryable or Blocked."""
        ...

    def assumed_roles(self, cluster: str) -> Mapping[str, Role]:
        """Roles that plans would have created by now; empty when plans are run."""
        ...


class Applying:
    """Runs every plan on the server."""

    only_plans = False
    may_write = True

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        """Run the statements. Raises Retryable or Blocked."""
        del cluster, creates
        if statements:
            act()
            await server.apply(statements, str(key))

    async def rehearse(self, key: Key, server: Server, statements: Sequence[Statement]) -> None:
        """Run the statements and roll them back. Raises Retryable or Blocked."""
        del key
        act()
        await server.rehearse(statements)

    def assumed_roles(self, cluster: str) -> Mapping[str, Role]:
        """None: they exist or they don't."""
        del cluster
        return {}


class ReadOnly:
    """Runs nothing: whatever would change is reported as Blocked, resource by resource."""

    only_plans = False
    may_write = False

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        """Raise Blocked when there is something to run."""
        del key, cluster, server, creates
        if statements:
            more = f" and {len(statements) - 1} more" if len(statements) > 1 else ""
            raise Blocked(
                "ReadOnlyMode", f"The operator is in read-only mode and did not: {statements[0].purpose}{more}"
            )

    async def rehearse(self, key: Key, server: Server, statements: Sequence[Statement]) -> None:
        """Raise Blocked: what comes after it would not be run."""
        await self.run(key, "", server, statements)

    def assumed_roles(self, cluster: str) -> Mapping[str, Role]:
        """None: nothing is ever made."""
        del cluster
        return {}


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be run for one resource."""

    key: Key
    cluster: str
    maintenance_database: str
    statements: tuple[Statement, ...]


class Recording:
    """Writes every plan down and changes nothing."""

    only_plans = True
    may_write = False

    def __init__(self) -> None:
        self.planned: dict[Key, Planned] = {}
        self._roles: dict[str, dict[str, Role]] = {}

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        """Write the statements down."""
        known = self.planned[key].statements if key in self.planned else ()
        texts = {item.text for item in known}
        wanted = {item.text for item in statements}
        if not wanted <= texts:
            # A user with two logins has several plans; one that is made again takes the place of the first.
            before = () if wanted & texts else known
            self.planned[key] = Planned(key, cluster, server.maintenance_database, (*before, *statements))
        assumed = self._roles.setdefault(cluster, {})
        for name in creates:
            assumed[name] = _new_group(name)

    async def rehearse(self, key: Key, server: Server, statements: Sequence[Statement]) -> None:
        """Ask nobody."""

    def assumed_roles(self, cluster: str) -> Mapping[str, Role]:
        """The roles that plans of this run would have created."""
        return self._roles.get(cluster, {})


def _new_group(name: str) -> Role:
    return Role(
        name=name,
        oid=0,
        can_login=False,
        inherits=True,
        is_superuser=False,
        can_create_roles=False,
        can_create_databases=False,
        can_replicate=False,
        bypasses_rls=False,
        connection_limit=-1,
        valid_until=None,
        comment=None,
        verifier=None,
    )
