"""Reads what a restore must know: what is in its target, from within, and what lies beside it, from outside."""

from typing import Any

from psycopg.rows import dict_row

from dbtether.api.names import Group
from dbtether.postgres.pool import Connection
from dbtether.postgres.restores.model import RestoreTarget
from dbtether.postgres.restores.objects import LISTED, LOCKS
from dbtether.postgres.roles.model import RoleNames

_LISTED = 50
_EXAMPLES = 3

_FACTS = b"""
SELECT pg_catalog.pg_database_size(d.oid)::bigint AS size_bytes,
       pg_catalog.current_setting('max_locks_per_transaction')::bigint
         * (pg_catalog.current_setting('max_connections')::bigint
            + pg_catalog.current_setting('max_prepared_transactions')::bigint) AS lock_capacity,
       (SELECT pg_catalog.array_agg(DISTINCT r.rolname::text)
          FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
         WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.dbid = d.oid AND s.deptype = 'a'
           AND r.rolname !~ '^dbtether_') AS grantees
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""


async def observe_restore_target(connection: Connection, roles: RoleNames) -> RestoreTarget:
    """What is in the connection's database, in one round trip. Raises psycopg.Error."""

    async def ask(query: bytes, parameters: dict[str, object] | None = None) -> Any:
        return await connection.cursor(row_factory=dict_row).execute(query, parameters)

    limits: dict[str, object] = {"role": roles.groups[Group.ADMIN], "examples": _EXAMPLES, "listed": _LISTED}
    async with connection.pipeline():
        listed = await ask(LISTED.encode(), limits)
        locks = await ask(LOCKS.encode())
        facts = await ask(_FACTS)
    found = {**await listed.fetchone(), **await locks.fetchone(), **await facts.fetchone()}
    return RestoreTarget(
        objects=found["objects"],
        examples=tuple(found["examples"] or ()),
        undroppable=tuple(found["undroppable"] or ()),
        undroppable_count=found["undroppable_count"],
        schemas=frozenset(found["schemas"] or ()),
        droppable_schemas=frozenset(found["droppable_schemas"] or ()),
        locks=found["locks"],
        lock_capacity=found["lock_capacity"],
        size_bytes=found["size_bytes"],
        grantees=frozenset(found["grantees"] or ()),
    )
