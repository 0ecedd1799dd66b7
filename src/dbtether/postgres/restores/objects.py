"""Everything that a dump would bring, as it lies in a database: what is there, and what drops all of it.

Run inside one database, by the admin who judges and by the load itself. Extensions and what they brought are
left aside everywhere (pg_depend.deptype 'e'), and so is what belongs to another object and goes with it.
"""

from collections.abc import Collection

from psycopg import sql

# `word` is what DROP says, and those that are `multiple` take a list of names.
_OBJECTS = """
member AS MATERIALIZED (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), user_schema AS MATERIALIZED (
  SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace
   WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), entry (place, word, multiple, class, oid, schema, owner) AS (
  SELECT 10, 'PUBLICATION', true, 'pg_catalog.pg_publication'::pg_catalog.regclass, oid, 0::oid, pubowner
    FROM pg_catalog.pg_publication
  UNION ALL
  SELECT 10, 'EVENT TRIGGER', false, 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, oid, 0, evtowner
    FROM pg_catalog.pg_event_trigger
  UNION ALL
  SELECT CASE WHEN relkind = 'S' THEN 21 ELSE 20 END,
         CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
                      WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
         true, 'pg_catalog.pg_class'::pg_catalog.regclass, oid, relnamespace, relowner
    FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT 30, 'ROUTINE', true, 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, pronamespace, proowner
    FROM pg_catalog.pg_proc
  UNION ALL
  SELECT 31, 'TYPE', true, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typnamespace, t.typowner
    FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
   WHERE (t.typtype IN ('b', 'd', 'e', 'r', 'p') OR c.relkind = 'c')
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
  UNION ALL
  SELECT 32, 'CAST', false, 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid, 0, s.typowner
    FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type s ON s.oid = c.castsource WHERE c.oid >= 16384
  UNION ALL
  SELECT 40, 'OPERATOR', true, 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, oprnamespace, oprowner
    FROM pg_catalog.pg_operator
  UNION ALL
  SELECT 41, 'OPERATOR CLASS', false, 'pg_catalog.pg_opclass'::pg_catalog.regclass, oid, opcnamespace, opcowner
    FROM pg_catalog.pg_opclass
  UNION ALL
  SELECT 42, 'OPERATOR FAMILY', false, 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid, opfnamespace, opfowner
    FROM pg_catalog.pg_opfamily
  UNION ALL
  SELECT 50, 'COLLATION', true, 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, collnamespace, collowner
    FROM pg_catalog.pg_collation
  UNION ALL
  SELECT 50, 'CONVERSION', true, 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid, connamespace, conowner
    FROM pg_catalog.pg_conversion
  UNION ALL
  SELECT 51, 'TEXT SEARCH CONFIGURATION', true, 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid, cfgnamespace,
         cfgowner FROM pg_catalog.pg_ts_config
  UNION ALL
  SELECT 52, 'TEXT SEARCH DICTIONARY', true, 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid, dictnamespace,
         dictowner FROM pg_catalog.pg_ts_dict
  UNION ALL
  SELECT 53, 'TEXT SEARCH PARSER', true, 'pg_catalog.pg_ts_parser'::pg_catalog.regclass, oid, prsnamespace, 0
    FROM pg_catalog.pg_ts_parser
  UNION ALL
  SELECT 53, 'TEXT SEARCH TEMPLATE', true, 'pg_catalog.pg_ts_template'::pg_catalog.regclass, oid, tmplnamespace, 0
    FROM pg_catalog.pg_ts_template
  UNION ALL
  SELECT 54, 'STATISTICS', true, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid, stxnamespace, stxowner
    FROM pg_catalog.pg_statistic_ext
  UNION ALL
  SELECT 60, 'SERVER', true, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, 0, srvowner
    FROM pg_catalog.pg_foreign_server
  UNION ALL
  SELECT 61, 'FOREIGN DATA WRAPPER', true, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid, 0, fdwowner
    FROM pg_catalog.pg_foreign_data_wrapper
  UNION ALL
  SELECT 62, 'LANGUAGE', true, 'pg_catalog.pg_language'::pg_catalog.regclass, oid, 0, lanowner
    FROM pg_catalog.pg_language WHERE oid >= 16384
  UNION ALL
  SELECT 70, 'LARGE OBJECT', false, 'pg_catalog.pg_largeobject'::pg_catalog.regclass, oid, 0, lomowner
    FROM pg_catalog.pg_largeobject_metadata
), object AS (
  SELECT e.* FROM entry e
   WHERE (e.schema = 0 OR e.schema IN (SELECT oid FROM user_schema))
     AND (e.class, e.oid) NOT IN (SELECT classid, objid FROM member)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = e.class AND i.objid = e.oid
                        AND i.objsubid = 0 AND i.deptype = 'i')
), spare_schema AS (
  SELECT n.oid, n.nspname, n.nspowner FROM user_schema n
   WHERE n.nspname <> 'public'
     AND ('pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid) NOT IN (SELECT classid, objid FROM member)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extnamespace = n.oid)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN member USING (classid, objid)
                      WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid)
)
"""

ANYTHING = "WITH {objects} SELECT EXISTS (SELECT FROM object)".replace("{objects}", _OBJECTS).encode()
"""Whether any object is in a user schema, or in none but one that a dump brings: a query without parameters."""

LISTED = """
WITH {objects}, judged AS (
  SELECT o.*, NOT coalesce(
           (o.owner <> 0 AND pg_catalog.pg_has_role(%(role)s, o.owner, 'USAGE'))
           OR (s.oid IS NOT NULL AND pg_catalog.pg_has_role(%(role)s, s.nspowner, 'USAGE'))
           OR (o.class = 'pg_catalog.pg_cast'::pg_catalog.regclass AND EXISTS (
             SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
              WHERE c.oid = o.oid AND pg_catalog.pg_has_role(%(role)s, t.typowner, 'USAGE'))), false) AS is_undroppable
    FROM object o LEFT JOIN user_schema s ON s.oid = o.schema
)
SELECT (SELECT pg_catalog.count(*) FROM judged) AS objects,
       (SELECT pg_catalog.count(*) FROM judged WHERE is_undroppable) AS undroppable_count,
       (SELECT pg_catalog.array_agg(i.type || ' ' || i.identity ORDER BY o.place, o.oid)
          FROM (SELECT * FROM judged ORDER BY place, oid LIMIT %(examples)s) o,
               pg_catalog.pg_identify_object(o.class, o.oid, 0) i) AS examples,
       (SELECT pg_catalog.array_agg(i.type || ' ' || i.identity ORDER BY o.place, o.oid)
          FROM (SELECT * FROM judged WHERE is_undroppable ORDER BY place, oid LIMIT %(listed)s) o,
               pg_catalog.pg_identify_object(o.class, o.oid, 0) i) AS undroppable,
       (SELECT pg_catalog.array_agg(nspname::text) FROM user_schema) AS schemas,
       (SELECT pg_catalog.array_agg(nspname::text) FROM spare_schema
         WHERE pg_catalog.pg_has_role(%(role)s, nspowner, 'USAGE')) AS droppable_schemas
""".replace("{objects}", _OBJECTS)
"""What is there, and what of it `role` may not drop: the owner of a schema may drop all that is in it."""

# Each object that goes is locked until the end: also indexes, TOAST tables, row and array types, constraints.
LOCKS = """
WITH relation AS (
  SELECT c.oid, c.reltoastrelid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT (SELECT pg_catalog.count(*) + 2 * pg_catalog.count(*) FILTER (WHERE reltoastrelid <> 0) FROM relation)
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint WHERE conrelid IN (SELECT oid FROM relation))
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attrdef WHERE adrelid IN (SELECT oid FROM relation))
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger WHERE tgrelid IN (SELECT oid FROM relation))
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_rewrite WHERE ev_class IN (SELECT oid FROM relation))
     + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata) AS locks
"""

# Statements are made where the names are, quoted by the server itself: they never pass through a client's encoding.
# A thousand names each: one list of everything would be parsed as one statement of megabytes.
_DROPS = """
WITH {objects}, named AS (
  SELECT o.place, o.word, o.multiple, o.oid, CASE
           WHEN o.class = 'pg_catalog.pg_class'::pg_catalog.regclass
             THEN pg_catalog.format('%I.%I', (SELECT nspname FROM user_schema s WHERE s.oid = o.schema),
                                    (SELECT relname FROM pg_catalog.pg_class c WHERE c.oid = o.oid))
           ELSE (pg_catalog.pg_identify_object(o.class, o.oid, 0)).identity END AS identity,
         (pg_catalog.row_number() OVER (PARTITION BY o.word ORDER BY o.oid) - 1) / CASE WHEN o.multiple THEN 1000
                                                                                   ELSE 1 END AS chunk
    FROM object o WHERE o.word <> 'LARGE OBJECT'
)
SELECT text FROM (
  SELECT place, word, chunk, 'DROP ' || word || ' IF EXISTS ' || pg_catalog.string_agg(identity, ', ' ORDER BY oid)
         || ' CASCADE' AS text
    FROM named GROUP BY place, word, chunk
  UNION ALL
  SELECT 70, '', 0, 'SELECT pg_catalog.count(pg_catalog.lo_unlink(oid)) FROM pg_catalog.pg_largeobject_metadata'
   WHERE EXISTS (SELECT FROM object WHERE word = 'LARGE OBJECT')
  UNION ALL
  SELECT 80, '', 0, 'DROP SCHEMA ' || pg_catalog.string_agg(pg_catalog.format('%I', nspname), ', ' ORDER BY nspname)
    FROM spare_schema WHERE nspname <> ALL({kept}::text[]) HAVING pg_catalog.count(*) > 0
) statement ORDER BY place, word, chunk
""".replace("{objects}", _OBJECTS)


def drop_query(kept_schemas: Collection[str]) -> bytes:
    """A query whose rows are the statements that drop everything, in the order in which to run them.

    Run by the role that may drop it (`RestoreTarget.undroppable`), which also owns the schemas that are not kept
    (`RestoreTarget.surviving_schemas`), in one transaction with the statements. A schema goes only when it is empty
    by then: an object of a kind that nobody knew of stops it. Nothing but the query's own text is sent.
    """
    kept = sql.Literal(sorted(kept_schemas))
    return sql.SQL(_DROPS).format(kept=kept).as_bytes(None)
