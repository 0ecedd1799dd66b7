"""Finds the grant groups of a database that nobody wants any more. Reads only."""

from collections.abc import Collection
from dataclasses import replace

from dbtether.postgres.databases.grantgroups import grant_groups_of, unused_grant_groups
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.server.access import Server


async def with_left_over(
    server: Server, desired: DesiredDatabase, observed: ObservedDatabase, leaving: Collection[tuple[str, str]] = ()
) -> ObservedDatabase:
    """The observation, with the unwanted grant groups; costs nothing while there are none.

    Of the `leaving` pairs of group and member a plan that is only written down has taken leave already.
    Raises Retryable or Blocked.
    """
    unknown = set(grant_groups_of(desired.roles, observed.roles)) - set(observed.roles)
    if not unknown:
        return observed
    roles = {**observed.roles, **(await server.shared(sorted(unknown))).roles}
    unused = unused_grant_groups(desired, observed.server, roles, leaving)
    left_over = {name: await server.dependents(name) for name in unused}
    return replace(observed, roles=roles, left_over=left_over)
