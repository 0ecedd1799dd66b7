"""What the admin's login lacks, and what the server leaves open: observed in one query, told with the cure. Pure but
for `observe_preflight`.

Sources: PostgreSQL documentation, GRANT ("Role Membership", since 16 per grantor with ADMIN, INHERIT and SET),
"Predefined Roles" (pg_signal_backend), "Privileges" (CONNECT is PUBLIC's by default).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from dbtether.postgres.guards import quoted
from dbtether.postgres.pool import Connection
from dbtether.postgres.server.cures import attribute, grant_of_owner, grant_of_role, grant_of_signal
from dbtether.postgres.server.model import ServerFacts

# Databases that every server has and every login may enter, and the one where this admin takes its locks.
_DOORS = """
SELECT 'door' AS kind, d.datname::text AS name, NULL::text AS holder, 0::bigint AS total,
       d.datname = pg_catalog.current_database() AND NOT EXISTS (
         SELECT FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
          WHERE x.privilege_type = 'CONNECT' AND x.grantee <> 0
            AND pg_catalog.pg_has_role(session_user, x.grantee, 'USAGE')) AS locks_admin_out
  FROM pg_catalog.pg_database d
 WHERE d.datname IN ('postgres', 'template1', pg_catalog.current_database()) AND d.datallowconn
   AND EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
                WHERE x.privilege_type = 'CONNECT' AND x.grantee = 0)
"""
# All roles are joined before any is left out: a planner without statistics takes a filter on comments for one
# that keeps a single row, and would loop (10,000 new roles: 57 s instead of 0.02 s).
# Owner roles and logins carry the marker; groups are known by their name and the marked owner of their database.
_ROLES_16 = """
SELECT kind, name, holder, total, false AS locks_admin_out FROM (
  WITH every AS MATERIALIZED (
    SELECT r.oid, r.rolname::text AS name,
           CASE WHEN d.description IS NULL AND NOT r.rolcanlogin AND r.rolname LIKE 'dbtether\\_%%' THEN 'group'
                WHEN pg_catalog.right(d.description, pg_catalog.length(%(at)s)) <> %(at)s
                  OR d.description NOT LIKE 'dbtether:%%' THEN NULL
                WHEN r.rolname LIKE 'dbtether\\_%%' THEN 'owner'
                WHEN d.description IS NOT NULL THEN 'login' END AS kind,
           coalesce(pg_catalog.bool_or(h.rolname = session_user AND m.admin_option), false) AS rules,
           coalesce(pg_catalog.bool_or(h.rolname LIKE 'dbtether\\_%%' AND m.admin_option), false) AS owner_rules
      FROM pg_catalog.pg_roles r
      LEFT JOIN pg_catalog.pg_shdescription d
        ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      LEFT JOIN pg_catalog.pg_auth_members m ON m.roleid = r.oid
      LEFT JOIN pg_catalog.pg_roles h ON h.oid = m.member
     GROUP BY r.oid, r.rolname, r.rolcanlogin, d.description
  ), unheld AS (
    SELECT oid, kind, name FROM every
     WHERE NOT CASE kind WHEN 'owner' THEN rules WHEN 'group' THEN owner_rules ELSE rules OR owner_rules END
       AND kind IS NOT NULL
  ), cured AS (
    SELECT u.kind, u.name, (
      SELECT pg_catalog.min(w.rolname::text)
        FROM (SELECT u.oid AS oid UNION ALL
              SELECT m.roleid FROM pg_catalog.pg_auth_members m WHERE m.member = u.oid) g
        JOIN pg_catalog.pg_shdepend s ON s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
         AND s.refobjid = g.oid AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.dbid = 0
        JOIN pg_catalog.pg_database b ON b.oid = s.objid
        JOIN pg_catalog.pg_roles w ON w.oid = b.datdba AND w.rolname LIKE 'dbtether\\_%%'
        JOIN pg_catalog.pg_shdescription d ON d.objoid = w.oid
         AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
         AND pg_catalog.right(d.description, pg_catalog.length(%(at)s)) = %(at)s
       WHERE u.kind <> 'owner') AS holder
      FROM unheld u
  )
  SELECT kind, name, holder, pg_catalog.count(*) OVER () AS total FROM cured
   WHERE kind <> 'group' OR holder IS NOT NULL
   ORDER BY kind <> 'owner', kind, name LIMIT %(most)s
) roles
"""


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a DBA can give or close, with the exact statement."""

    privilege: str
    purpose: str
    statement: str
    is_required: bool
    """Whether some Database or DatabaseUser cannot be as its spec wants without it; else it is advice."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is lacking, the required first, as far as it is listed, and how much there is of it."""

    lacks: tuple[Lack, ...]
    required: int
    total: int


async def observe_preflight(connection: Connection, facts: ServerFacts, installation: str, most: int) -> Preflight:
    """What the admin lacks, at most `most` entries, in one query. Raises psycopg.Error."""
    query = _DOORS
    if facts.acts_as_owner:
        # Before 16, and for a superuser, CREATEROLE rules every role there is.
        query += f" UNION ALL {_ROLES_16}"
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), {"at": f"@{installation}", "most": most} if facts.acts_as_owner else None)
    return preflight(facts, await cursor.fetchall(), most)


def preflight(facts: ServerFacts, rows: list[dict[str, Any]], most: int) -> Preflight:
    """The answer, from the rows of the query."""
    roles = [row for row in rows if row["kind"] != "door"]
    unlisted = roles[0]["total"] - len(roles) if roles else 0
    lacks = [*_attributes(facts), *(_role(facts, row) for row in roles), *_signal(facts)]
    lacks += [_door(facts, row) for row in sorted(rows, key=lambda row: str(row["name"])) if row["kind"] == "door"]
    ordered = sorted(lacks, key=lambda lack: not lack.is_required)
    required = sum(lack.is_required for lack in lacks) + unlisted
    return Preflight(tuple(ordered[:most]), required, len(lacks) + unlisted)


def _attributes(facts: ServerFacts) -> Iterator[Lack]:
    wanted = (
        ("CREATEROLE", facts.can_create_roles, "create the roles of databases and the logins of users"),
        ("CREATEDB", facts.can_create_databases, "create databases"),
    )
    for name, has, purpose in wanted:
        if not has and not facts.is_superuser:
            yield Lack(name, purpose, attribute(facts.admin, name), is_required=True)


def _role(facts: ServerFacts, row: dict[str, Any]) -> Lack:
    name, kind = row["name"], row["kind"]
    if kind == "owner":
        statement = grant_of_owner(name, facts.admin)
        purpose = (
            "manage its database: another admin's login made it, or an upgrade from before PostgreSQL 16 lost that"
        )
    else:
        statement = grant_of_role(name, row["holder"] or facts.admin)
        purpose = (
            f"manage this {kind}: another admin's login made it, or an upgrade from before PostgreSQL 16 lost that"
        )
    return Lack(f"ADMIN on {name}", purpose, statement, is_required=True)


def _signal(facts: ServerFacts) -> Iterator[Lack]:
    # Before 16 an admin makes itself a member of whomever it must end; it needs no more.
    if facts.acts_as_owner and not facts.can_signal_backends:
        yield Lack(
            "pg_signal_backend",
            "end sessions of logins that dbtether did not make, when their database is dropped",
            grant_of_signal(facts.admin),
            is_required=False,
        )


def _door(facts: ServerFacts, row: dict[str, Any]) -> Lack:
    name = quoted(row["name"])
    statement = f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"
    if row["locks_admin_out"] and not facts.is_superuser:
        statement = f"GRANT CONNECT ON DATABASE {name} TO {quoted(facts.admin)}; {statement}"
    return Lack(
        f"CONNECT on {row['name']} left to PUBLIC",
        "keep tenants out of a database that is no tenant's: they could hold locks and make temporary objects there"
        + (", or plant objects and functions in its schema public" if facts.major < 15 else ""),
        statement,
        is_required=False,
    )
