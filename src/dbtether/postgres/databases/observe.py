"""Reads databases from the shared catalog, and one database from within."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.rows import dict_row

from dbtether.postgres.databases.model import (
    AvailableExtension,
    Database,
    Extension,
    Inside,
    Session,
)
from dbtether.postgres.grants.acl import acl_from_json
from dbtether.postgres.grants.model import DefaultAcl, ObjectKind, RelationGroup, Schema
from dbtether.postgres.pool import Connection

_ACL = """(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
    CASE x.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END,
    x.privilege_type, x.is_grantable, pg_catalog.pg_get_userbyid(x.grantor)::text))
  FROM pg_catalog.aclexplode({acl}) x)"""

DATABASES = (
    """
SELECT d.datname::text AS name, d.oid::bigint AS oid, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS lc_collate,
       d.datctype::text AS lc_ctype, {provider} AS provider, {icu_locale} AS icu_locale,
       d.datistemplate AS is_template, d.datallowconn AS allows_connections, d.datconnlimit AS connection_limit,
       c.description AS comment, s.setconfig AS settings,
       pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS admin_can_connect, """
    + _ACL.format(acl="coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))")
    + """ AS acl
  FROM pg_catalog.pg_database d
  LEFT JOIN pg_catalog.pg_shdescription c
    ON c.objoid = d.oid AND c.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
 WHERE d.datname = ANY(%s)
"""
)
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}

SESSIONS = """
SELECT usename::text AS user, pg_catalog.count(*)::int AS count FROM pg_catalog.pg_stat_activity
 WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid() GROUP BY 1 ORDER BY 1
"""

# Extensions' own objects are theirs to rule: pg_depend.deptype 'e'.
_SCHEMAS = (
    "SELECT n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner, "
    + _ACL.format(acl="coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))")
    + """ AS acl
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                   AND d.objid = n.oid AND d.deptype = 'e')
 ORDER BY 1
"""
)
# Ten thousand tables mostly share a handful of access control lists: one row for each list, not each table.
_RELATIONS = (
    """
WITH relation AS (
  SELECT n.nspname, c.relkind = 'S' AS is_sequence, c.relowner, c.relacl::text AS acl_text, c.oid, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                     AND d.objid = c.oid AND d.deptype = 'e')
), grouped AS (
  SELECT nspname, is_sequence, relowner, min(oid::bigint) AS any_oid,
         pg_catalog.array_agg(relname::text ORDER BY relname) AS names
    FROM relation GROUP BY nspname, is_sequence, relowner, acl_text
)
SELECT g.nspname::text AS schema, g.is_sequence, pg_catalog.pg_get_userbyid(g.relowner)::text AS owner, g.names, """
    + _ACL.format(
        acl="coalesce(c.relacl, pg_catalog.acldefault("
        "CASE WHEN g.is_sequence THEN 's' ELSE 'r' END::\"char\", g.relowner))"
    )
    + """ AS acl
  FROM grouped g JOIN pg_catalog.pg_class c ON c.oid = g.any_oid
 ORDER BY 1, 2, 3, g.any_oid
"""
)
_DEFAULT_ACLS = (
    "SELECT pg_catalog.pg_get_userbyid(a.defaclrole)::text AS creator, a.defaclobjtype::text AS kind, "
    "n.nspname::text AS schema, " + _ACL.format(acl="a.defaclacl") + " AS acl FROM pg_catalog.pg_default_acl a "
    "LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace ORDER BY 1, 2, 3"
)
_EXTENSIONS = """
SELECT e.extname::text AS name, e.extversion AS version, n.nspname::text AS schema,
       pg_catalog.pg_get_userbyid(e.extowner)::text AS owner
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1
"""
# Reading the server's extension folder costs 9 to 18 ms: only when a wanted one is not installed.
AVAILABLE = """
SELECT v.name::text AS name, a.default_version, bool_or(v.trusted) AS trusted, min(v.schema::text) AS schema,
       coalesce((SELECT pg_catalog.array_agg(DISTINCT r::text) FROM pg_catalog.pg_available_extension_versions o,
                 pg_catalog.unnest(o.requires) r WHERE o.name = v.name), '{}') AS requires,
       pg_catalog.array_agg(v.version ORDER BY v.version) AS versions
  FROM pg_catalog.pg_available_extension_versions v JOIN pg_catalog.pg_available_extensions a USING (name)
 WHERE v.name = ANY(%(names)s) AND EXISTS (
    SELECT FROM pg_catalog.unnest(%(names)s::text[]) wanted
     WHERE {always} OR wanted NOT IN (SELECT extname::text FROM pg_catalog.pg_extension))
 GROUP BY v.name, a.default_version ORDER BY 1
"""
_DEFAULT_KINDS = {
    "r": ObjectKind.TABLE,
    "S": ObjectKind.SEQUENCE,
    "n": ObjectKind.SCHEMA,
    "L": ObjectKind.LARGE_OBJECT,
}


def database_from_row(row: Mapping[str, Any]) -> Database:
    """A Database out of a row of the query DATABASES."""
    values = dict(row)
    values["locale_provider"] = _PROVIDERS.get(values.pop("provider"), "libc")
    values["acl"] = acl_from_json(values["acl"])
    values["settings"] = tuple(values["settings"] or ())
    return Database(**values)


def provider_columns(major: int) -> dict[str, str]:
    """The columns of pg_database that changed their names: locale providers came with 15, `datlocale` with 17."""
    if major >= 17:
        return {"provider": "d.datlocprovider::text", "icu_locale": "d.datlocale"}
    if major >= 15:
        return {"provider": "d.datlocprovider::text", "icu_locale": "d.daticulocale"}
    return {"provider": "'c'", "icu_locale": "NULL::text"}


async def observe_inside(connection: Connection, extensions: Sequence[str]) -> Inside:
    """What is in the database of `connection`, in one round trip. Raises psycopg.Error."""
    cursor = connection.cursor(row_factory=dict_row)
    async with connection.pipeline():
        schemas = await connection.cursor(row_factory=dict_row).execute(_SCHEMAS)
        relations = await connection.cursor(row_factory=dict_row).execute(_RELATIONS)
        defaults = await connection.cursor(row_factory=dict_row).execute(_DEFAULT_ACLS)
        installed = await connection.cursor(row_factory=dict_row).execute(_EXTENSIONS)
        if extensions:
            query = AVAILABLE.replace("{always}", "false").encode()
            await cursor.execute(query, {"names": list(extensions)})
    available = await cursor.fetchall() if extensions else []
    return Inside(
        schemas=tuple(Schema(row["name"], row["owner"], acl_from_json(row["acl"])) for row in await schemas.fetchall()),
        relations=tuple(
            RelationGroup(
                schema=row["schema"],
                kind=ObjectKind.SEQUENCE if row["is_sequence"] else ObjectKind.TABLE,
                owner=row["owner"],
                acl=acl_from_json(row["acl"]),
                names=tuple(row["names"]),
            )
            for row in await relations.fetchall()
        ),
        default_acls=tuple(
            DefaultAcl(row["creator"], _DEFAULT_KINDS[row["kind"]], acl_from_json(row["acl"]), row["schema"])
            for row in await defaults.fetchall()
            if row["kind"] in _DEFAULT_KINDS
        ),
        extensions=tuple(Extension(**row) for row in await installed.fetchall()),
        available=tuple(_available(row) for row in available),
    )


def _available(row: Mapping[str, Any]) -> AvailableExtension:
    return AvailableExtension(**{**row, "requires": tuple(row["requires"])})


async def observe_available(connection: Connection, names: Sequence[str]) -> tuple[AvailableExtension, ...]:
    """Which of these extensions the server can install, whatever this database has."""
    if not names:
        return ()
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(AVAILABLE.replace("{always}", "true").encode(), {"names": list(names)})
        return tuple(_available(row) for row in await cursor.fetchall())


async def observe_sessions(connection: Connection, database: str) -> tuple[Session, ...]:
    """Who is connected to a database, this session aside."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SESSIONS, (database,))
        return tuple(Session(**row) for row in await cursor.fetchall())
