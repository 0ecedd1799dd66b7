"""Reads what one role owns in a database, for a change of hands."""

from psycopg.rows import dict_row

from dbtether.postgres.databases.model import OwnedObject
from dbtether.postgres.pool import Connection

# Left out: what an extension brought (it stays as it was made), sequences that belong to a table's column (they
# follow it), the types of tables and arrays. Schemas first: who owns one may create in it.
_OWNED = b"""
WITH role AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %(role)s),
member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
found AS (
  SELECT 1 AS place, 'SCHEMA' AS kind, 'pg_namespace'::text AS class, n.oid, n.nspname AS schema, n.nspname AS name
    FROM pg_catalog.pg_namespace n WHERE n.nspowner = (SELECT oid FROM role)
  UNION ALL
  SELECT 2, 'TABLE', 'pg_class', c.oid, n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relowner = (SELECT oid FROM role) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
     AND NOT (c.relkind = 'S' AND EXISTS (
       SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND d.deptype IN ('a', 'i')))
  UNION ALL
  SELECT 3, 'TYPE', 'pg_type', t.oid, n.nspname, t.typname
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
   WHERE t.typowner = (SELECT oid FROM role) AND (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c')
  UNION ALL
  SELECT 4, 'ROUTINE', 'pg_proc', p.oid, n.nspname, p.proname
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE p.proowner = (SELECT oid FROM role)
  UNION ALL
  SELECT 5, 'LARGE OBJECT', 'pg_largeobject', l.oid, '', l.oid::text
    FROM pg_catalog.pg_largeobject_metadata l WHERE l.lomowner = (SELECT oid FROM role)
)
SELECT f.kind, CASE WHEN f.kind = 'SCHEMA' THEN '' ELSE f.schema::text END AS schema, f.name::text AS name,
       CASE WHEN f.kind = 'ROUTINE' THEN (
         SELECT pg_catalog.json_agg(pg_catalog.json_build_array(tn.nspname, t.typname) ORDER BY a.place)
           FROM pg_catalog.pg_proc p, pg_catalog.unnest(p.proargtypes) WITH ORDINALITY a(type, place)
           JOIN pg_catalog.pg_type t ON t.oid = a.type JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
          WHERE p.oid = f.oid) END AS arguments
  FROM found f
 WHERE f.schema !~ '^pg_' AND f.schema <> 'information_schema'
   AND NOT EXISTS (SELECT FROM member m WHERE m.objid = f.oid
                      AND m.classid = pg_catalog.to_regclass('pg_catalog.' || f.class))
 ORDER BY f.place, f.schema, f.name, f.oid
"""


async def observe_owned(connection: Connection, role: str) -> tuple[OwnedObject, ...]:
    """What the role owns in the connection's database and can be handed on, in that order. Raises psycopg.Error."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_OWNED, {"role": role})
        rows = await cursor.fetchall()
    return tuple(
        OwnedObject(
            row["kind"], row["schema"], row["name"], tuple((schema, name) for schema, name in row["arguments"] or ())
        )
        for row in rows
    )
