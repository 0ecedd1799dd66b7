"""Reads what a restore must know: what is in its target, from within, and what lies beside it, from outside."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from dbtether.api.names import Group
from dbtether.postgres.databases.model import Session
from dbtether.postgres.pool import Connection
from dbtether.postgres.restores.model import Obstacles, RestoreTarget
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


_SESSIONS = b"""
SELECT datname::text AS database, usename::text AS user, pg_catalog.count(*)::int AS count
  FROM pg_catalog.pg_stat_activity WHERE datname = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2
"""
_ROLE_SETTINGS = b"""
SELECT d.datname::text AS database, r.rolname::text AS role, s.setconfig AS settings
  FROM pg_catalog.pg_db_role_setting s
  JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
 WHERE d.datname = ANY(%s) ORDER BY 1, 2
"""
# Of a subscription only the columns that everybody may read.
_OBSTACLES = b"""
SELECT database::text, 'prepared' AS kind, gid AS name FROM pg_catalog.pg_prepared_xacts WHERE database = ANY(%(names)s)
UNION ALL
SELECT database::text, 'slots', slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = ANY(%(names)s)
UNION ALL
SELECT d.datname::text, 'subscriptions', s.subname::text
  FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = ANY(%(names)s)
ORDER BY 1, 2, 3
"""
# Since 15 a right to set one can be granted (GRANT ... ON PARAMETER).
_SUPERUSER_SETTINGS = """
SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings
 WHERE context IN ('superuser', 'superuser-backend'){but_granted}
"""
_BUT_GRANTED = " AND NOT pg_catalog.has_parameter_privilege(name, 'SET')"
_BESIDE = b"""
SELECT datname::text FROM pg_catalog.pg_database
 WHERE pg_catalog.strpos(datname, '__restore_') > 0 OR pg_catalog.strpos(datname, '__before_') > 0 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the shared catalogs tell of some databases beside their own rows."""

    sessions: Mapping[str, tuple[Session, ...]]
    role_settings: Mapping[str, Mapping[str, tuple[str, ...]]]
    obstacles: Mapping[str, Obstacles]
    superuser_settings: frozenset[str]


async def observe_surroundings(connection: Connection, names: Sequence[str], major: int) -> Surroundings:
    """Sessions, settings of roles, and what is in a rename's way, in one round trip. Raises psycopg.Error."""
    wanted = list(names)

    async def ask(query: bytes, parameters: Any = None) -> Any:
        return await connection.cursor(row_factory=dict_row).execute(query, parameters)

    async with connection.pipeline():
        session_rows = await ask(_SESSIONS, (wanted,))
        setting_rows = await ask(_ROLE_SETTINGS, (wanted,))
        obstacle_rows = await ask(_OBSTACLES, {"names": wanted})
        names_only = await connection.execute(
            _SUPERUSER_SETTINGS.replace("{but_granted}", _BUT_GRANTED if major >= 15 else "").encode()
        )
    sessions: dict[str, list[Session]] = defaultdict(list)
    for row in await session_rows.fetchall():
        sessions[row["database"]].append(Session(row["user"], row["count"]))
    settings: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for row in await setting_rows.fetchall():
        settings[row["database"]][row["role"]] = tuple(row["settings"])
    obstacles: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in await obstacle_rows.fetchall():
        obstacles[row["database"]][row["kind"]].append(row["name"])
    return Surroundings(
        sessions={name: tuple(found) for name, found in sessions.items()},
        role_settings=dict(settings),
        obstacles={
            name: Obstacles(**{kind: tuple(items) for kind, items in found.items()})
            for name, found in obstacles.items()
        },
        superuser_settings=frozenset(str(name) for (name,) in await names_only.fetchall()),
    )


async def observe_names_beside(connection: Connection) -> tuple[str, ...]:
    """The databases that are named as restores name them. Raises psycopg.Error."""
    cursor = await connection.execute(_BESIDE)
    return tuple(str(name) for (name,) in await cursor.fetchall())
