"""What a database holds, asked of PostgreSQL's catalogs alone: one query a kind, one row an object.

It shares nothing with dbtether: it is the judge of what a restore brings back. Each row is the object's name and
a JSON object of its aspects. Definitions come from PostgreSQL's own `pg_get_*def` functions, names from
`pg_identify_object`, both with an empty search_path, so that neither depends on who asks. Privileges are told as
they work (the defaults of an empty list among them), not by who granted them.
"""

_USER_SCHEMA = "(n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')"


def _identity(catalog: str, alias: str, column: str = "0") -> str:
    return f"(pg_identify_object('{catalog}'::regclass, {alias}.oid, {column})).identity"


def _own(catalog: str, alias: str) -> str:
    """Whether it is no part of an extension, and none of the system's."""
    return (
        f"{alias}.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend own WHERE own.classid = '{catalog}'::regclass "
        f"AND own.objid = {alias}.oid AND own.deptype = 'e')"
    )


def _acl(items: str) -> str:
    return f"""(SELECT coalesce(jsonb_agg(item ORDER BY item), '[]') FROM (
      SELECT jsonb_build_array(CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END,
                               x.privilege_type, bool_or(x.is_grantable)) AS item
        FROM aclexplode({items}) x GROUP BY x.grantee, x.privilege_type) y)"""


def _privileges(kind: str, acl: str, owner: str) -> str:
    return _acl(f"coalesce({acl}, acldefault({kind}, {owner}))")


_ACL_KIND = """CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char\""""

_SCHEMAS = f"""
SELECT {_identity("pg_namespace", "n")}, jsonb_build_object(
  'owner', pg_get_userbyid(n.nspowner), 'privileges', {_privileges("'n'", "n.nspacl", "n.nspowner")})
  FROM pg_namespace n WHERE {_USER_SCHEMA}
"""
_RELATIONS = f"""
SELECT {_identity("pg_class", "c")}, jsonb_build_object(
  'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner),
  'privileges', {_privileges(_ACL_KIND, "c.relacl", "c.relowner")},
  'persistence', c.relpersistence, 'options', c.reloptions, 'row security', c.relrowsecurity,
  'forced row security', c.relforcerowsecurity, 'replica identity', c.relreplident, 'populated', c.relispopulated,
  'access method', am.amname, 'tablespace', ts.spcname, 'of type', nullif(c.reloftype, 0)::regtype,
  'options of its long values', t.reloptions,
  'parents', (SELECT jsonb_agg(i.inhparent::regclass ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid),
  'partition key', pg_get_partkeydef(c.oid), 'partition bound', pg_get_expr(c.relpartbound, c.oid),
  'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
  'foreign', (SELECT jsonb_build_array(s.srvname, f.ftoptions) FROM pg_foreign_table f
                JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
  LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_USER_SCHEMA} AND {_own("pg_class", "c")}
"""
_COLUMNS = f"""
SELECT {_identity("pg_class", "c", "a.attnum")}, jsonb_build_object(
  'position', row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), 'type', format_type(a.atttypid, a.atttypmod),
  'collation', nullif(a.attcollation, 0)::regcollation, 'not null', a.attnotnull,
  'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity, 'generated', a.attgenerated,
  'storage', a.attstorage, 'compression', to_jsonb(a) ->> 'attcompression', 'options', a.attoptions,
  'statistics target', nullif(a.attstattarget, -1), 'is its own', a.attislocal, 'inherited from', a.attinhcount,
  'foreign options', a.attfdwoptions, 'privileges', {_acl("a.attacl")})
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
   AND {_USER_SCHEMA} AND {_own("pg_class", "c")}
"""
# What PostgreSQL adds by itself for the parts of a partitioned table has names that depend on what was there.
_CONSTRAINTS = f"""
SELECT CASE WHEN k.conparentid <> 0 AND k.contype = 'f'
            THEN format('(%s) on %s', pg_get_constraintdef(k.oid), k.conrelid::regclass)
            ELSE {_identity("pg_constraint", "k")} END, jsonb_build_object(
  'kind', k.contype, 'definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated,
  'deferrable', k.condeferrable, 'deferred', k.condeferred, 'is its own', k.conislocal,
  'inherited from', k.coninhcount, 'is not inherited', k.connoinherit,
  'index', CASE WHEN k.conparentid = 0 THEN nullif(k.conindid, 0)::regclass END)
  FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
 WHERE {_USER_SCHEMA} AND {_own("pg_constraint", "k")}
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e' AND e.classid = 'pg_class'::regclass
                      AND e.objid = k.conrelid)
"""
_INDEXES = f"""
SELECT {_identity("pg_class", "c")}, jsonb_build_object(
  'definition', pg_get_indexdef(c.oid), 'unique', i.indisunique, 'primary', i.indisprimary, 'valid', i.indisvalid,
  'clustered', i.indisclustered, 'replica identity', i.indisreplident, 'checked at once', i.indimmediate,
  'tablespace', ts.spcname,
  'parent', (SELECT h.inhparent::regclass FROM pg_inherits h WHERE h.inhrelid = c.oid),
  'statistics targets', (SELECT jsonb_agg(jsonb_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum)
                           FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0))
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
 WHERE {_USER_SCHEMA} AND {_own("pg_class", "c")}
"""
_SEQUENCES = f"""
SELECT {_identity("pg_class", "c")}, to_jsonb(s) - '{{seqrelid,seqtypid}}'::text[] || jsonb_build_object(
  'type', s.seqtypid::regtype,
  'owned by', (SELECT jsonb_build_array(d.deptype,
                 (pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid)).identity)
                 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_USER_SCHEMA} AND {_own("pg_class", "c")}
"""
_TRIGGERS = f"""
SELECT {_identity("pg_trigger", "t")},
       jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)
  FROM pg_trigger t
 WHERE (NOT t.tgisinternal OR (t.tgparentid <> 0 AND t.tgconstraint = 0)) AND {_own("pg_trigger", "t")}
"""
_RULES = f"""
SELECT {_identity("pg_rewrite", "r")}, jsonb_build_object(
  'definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
  FROM pg_rewrite r WHERE r.rulename <> '_RETURN' AND {_own("pg_rewrite", "r")}
"""
_POLICIES = f"""
SELECT {_identity("pg_policy", "p")}, jsonb_build_object(
  'command', p.polcmd, 'permissive', p.polpermissive, 'using', pg_get_expr(p.polqual, p.polrelid),
  'check', pg_get_expr(p.polwithcheck, p.polrelid),
  'roles', (SELECT jsonb_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END ORDER BY pg_get_userbyid(r))
              FROM unnest(p.polroles) r))
  FROM pg_policy p WHERE {_own("pg_policy", "p")}
"""
_FUNCTIONS = f"""
SELECT {_identity("pg_proc", "p")}, jsonb_build_object(
  'kind', p.prokind, 'owner', pg_get_userbyid(p.proowner), 'privileges', {_privileges("'f'", "p.proacl", "p.proowner")},
  'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
  'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid), 'parallel', p.proparallel,
  'aggregate', (SELECT to_jsonb(a) - 'aggfnoid' || jsonb_build_object(
     'aggtranstype', a.aggtranstype::regtype, 'aggmtranstype', a.aggmtranstype::regtype,
     'aggsortop', a.aggsortop::regoperator) FROM pg_aggregate a WHERE a.aggfnoid = p.oid))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_USER_SCHEMA} AND {_own("pg_proc", "p")}
"""
_TYPES = f"""
SELECT {_identity("pg_type", "t")}, jsonb_build_object(
  'kind', t.typtype, 'owner', pg_get_userbyid(t.typowner), 'privileges', {_privileges("'T'", "t.typacl", "t.typowner")},
  'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
  'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, 'not null', t.typnotnull,
  'default', coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
  'collation', nullif(t.typcollation, 0)::regcollation,
  'range', (SELECT jsonb_build_array(r.rngsubtype::regtype, nullif(r.rngcollation, 0)::regcollation, o.opcname,
                                     r.rngcanonical, r.rngsubdiff, (to_jsonb(r) ->> 'rngmultitypid')::oid::regtype)
              FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc WHERE r.rngtypid = t.oid),
  'storing', CASE WHEN t.typtype = 'b' THEN jsonb_build_array(t.typinput, t.typoutput, t.typreceive, t.typsend,
     t.typlen, t.typbyval, t.typcategory, t.typispreferred, t.typdelim, t.typalign, t.typstorage) END)
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE {_USER_SCHEMA} AND {_own("pg_type", "t")} AND t.typtype <> 'm'
   AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
   AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
"""
_CASTS = f"""
SELECT {_identity("pg_cast", "c")}, jsonb_build_object(
  'context', c.castcontext, 'method', c.castmethod, 'function', c.castfunc::regprocedure)
  FROM pg_cast c WHERE {_own("pg_cast", "c")}
"""
_OPERATORS = f"""
SELECT {_identity("pg_operator", "o")}, jsonb_build_object(
  'owner', pg_get_userbyid(o.oprowner), 'function', o.oprcode, 'result', o.oprresult::regtype,
  'commutator', o.oprcom::regoperator, 'negator', o.oprnegate::regoperator, 'restrict', o.oprrest, 'join', o.oprjoin,
  'merges', o.oprcanmerge, 'hashes', o.oprcanhash)
  FROM pg_operator o WHERE {_own("pg_operator", "o")}
"""
_OPERATOR_CLASSES = f"""
SELECT {_identity("pg_opclass", "o")}, jsonb_build_object(
  'owner', pg_get_userbyid(o.opcowner),
  'family', (pg_identify_object('pg_opfamily'::regclass, o.opcfamily, 0)).identity,
  'type', o.opcintype::regtype, 'default', o.opcdefault, 'stored', o.opckeytype::regtype)
  FROM pg_opclass o WHERE {_own("pg_opclass", "o")}
"""
_OPERATOR_FAMILIES = f"""
SELECT {_identity("pg_opfamily", "f")}, jsonb_build_object(
  'owner', pg_get_userbyid(f.opfowner),
  'operators', (SELECT jsonb_agg(jsonb_build_array(a.amopstrategy, a.amopopr::regoperator, a.amoppurpose) ORDER BY
                  a.amopstrategy, a.amopopr::regoperator::text) FROM pg_amop a WHERE a.amopfamily = f.oid),
  'functions', (SELECT jsonb_agg(jsonb_build_array(a.amprocnum, a.amproc::regprocedure) ORDER BY
                  a.amprocnum, a.amproc::regprocedure::text) FROM pg_amproc a WHERE a.amprocfamily = f.oid))
  FROM pg_opfamily f WHERE {_own("pg_opfamily", "f")}
"""
_COLLATIONS = f"""
SELECT {_identity("pg_collation", "c")}, to_jsonb(c) - '{{oid,collname,collnamespace,collowner,collversion}}'::text[]
       || jsonb_build_object('owner', pg_get_userbyid(c.collowner))
  FROM pg_collation c WHERE {_own("pg_collation", "c")}
"""
_CONVERSIONS = f"""
SELECT {_identity("pg_conversion", "c")}, to_jsonb(c) - '{{oid,conname,connamespace,conowner}}'::text[]
       || jsonb_build_object('owner', pg_get_userbyid(c.conowner))
  FROM pg_conversion c WHERE {_own("pg_conversion", "c")}
"""
_SEARCH_CONFIGURATIONS = f"""
SELECT {_identity("pg_ts_config", "c")}, jsonb_build_object('owner', pg_get_userbyid(c.cfgowner), 'parser', p.prsname,
  'dictionaries', (SELECT jsonb_agg(jsonb_build_array(m.maptokentype, m.mapseqno, m.mapdict::regdictionary) ORDER BY
                     m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = c.oid))
  FROM pg_ts_config c JOIN pg_ts_parser p ON p.oid = c.cfgparser WHERE {_own("pg_ts_config", "c")}
"""
_SEARCH_DICTIONARIES = f"""
SELECT {_identity("pg_ts_dict", "d")}, jsonb_build_object(
  'owner', pg_get_userbyid(d.dictowner), 'template', t.tmplname, 'options', d.dictinitoption)
  FROM pg_ts_dict d JOIN pg_ts_template t ON t.oid = d.dicttemplate WHERE {_own("pg_ts_dict", "d")}
"""
_STATISTICS = f"""
SELECT {_identity("pg_statistic_ext", "s")}, jsonb_build_object('owner', pg_get_userbyid(s.stxowner),
  'definition', pg_get_statisticsobjdef(s.oid), 'target', nullif((to_jsonb(s) ->> 'stxstattarget')::int, -1))
  FROM pg_statistic_ext s WHERE {_own("pg_statistic_ext", "s")}
"""


def _publications(major: int) -> str:
    filtered = (
        ", pg_get_expr(r.prqual, r.prrelid), (SELECT jsonb_agg(a.attname ORDER BY a.attname) FROM pg_attribute a "
    )
    filtered += "WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs))"
    schemas = "(SELECT jsonb_agg(x.pnnspid::regnamespace ORDER BY x.pnnspid::regnamespace::text)"
    schemas += " FROM pg_publication_namespace x WHERE x.pnpubid = p.oid)"
    return f"""
SELECT {_identity("pg_publication", "p")}, to_jsonb(p) - '{{oid,pubname,pubowner}}'::text[] || jsonb_build_object(
  'owner', pg_get_userbyid(p.pubowner), 'schemas', {schemas if major >= 15 else "NULL"},
  'tables', (SELECT jsonb_agg(jsonb_build_array(r.prrelid::regclass{filtered if major >= 15 else ""})
                              ORDER BY r.prrelid::regclass::text) FROM pg_publication_rel r WHERE r.prpubid = p.oid))
  FROM pg_publication p
"""


_EVENT_TRIGGERS = f"""
SELECT {_identity("pg_event_trigger", "e")}, jsonb_build_object('owner', pg_get_userbyid(e.evtowner),
  'event', e.evtevent, 'function', e.evtfoid::regprocedure, 'enabled', e.evtenabled, 'tags', e.evttags)
  FROM pg_event_trigger e
"""
_EXTENSIONS = """
SELECT quote_ident(e.extname), jsonb_build_object(
  'schema', e.extnamespace::regnamespace, 'version', e.extversion, 'owner', pg_get_userbyid(e.extowner))
  FROM pg_extension e
"""
_WRAPPERS = f"""
SELECT {_identity("pg_foreign_data_wrapper", "w")}, jsonb_build_object('owner', pg_get_userbyid(w.fdwowner),
  'privileges', {_privileges("'F'", "w.fdwacl", "w.fdwowner")}, 'options', w.fdwoptions,
  'handler', w.fdwhandler::regproc, 'validator', w.fdwvalidator::regproc)
  FROM pg_foreign_data_wrapper w WHERE {_own("pg_foreign_data_wrapper", "w")}
"""
_SERVERS = f"""
SELECT {_identity("pg_foreign_server", "s")}, jsonb_build_object('owner', pg_get_userbyid(s.srvowner),
  'privileges', {_privileges("'S'", "s.srvacl", "s.srvowner")}, 'options', s.srvoptions, 'type', s.srvtype,
  'version', s.srvversion, 'wrapper', w.fdwname)
  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE {_own("pg_foreign_server", "s")}
"""
_USER_MAPPINGS = """
SELECT format('of %s on %s', CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(m.umuser)::text END, s.srvname),
       jsonb_build_object('options', m.umoptions)
  FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver
"""
_LANGUAGES = f"""
SELECT {_identity("pg_language", "l")}, jsonb_build_object(
  'owner', pg_get_userbyid(l.lanowner), 'trusted', l.lanpltrusted,
  'privileges', {_privileges("'l'", "l.lanacl", "l.lanowner")}, 'handler', l.lanplcallfoid::regprocedure)
  FROM pg_language l WHERE {_own("pg_language", "l")}
"""
_DEFAULT_PRIVILEGES = f"""
SELECT format('%s made by %s in %s', d.defaclobjtype, pg_get_userbyid(d.defaclrole),
              coalesce(nullif(d.defaclnamespace, 0)::regnamespace::text, 'any schema')),
       jsonb_build_object('privileges', {_acl("d.defaclacl")})
  FROM pg_default_acl d
"""
_LARGE_OBJECTS = f"""
SELECT m.oid::text, jsonb_build_object('owner', pg_get_userbyid(m.lomowner),
  'privileges', {_privileges("'L'", "m.lomacl", "m.lomowner")},
  'length', length(lo_get(m.oid)), 'md5', md5(lo_get(m.oid)))
  FROM pg_largeobject_metadata m
"""
_COMMENTS = """
SELECT i.type || ' ' || i.identity, jsonb_build_object('text', d.description)
  FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i
 WHERE (d.objoid >= 16384 OR d.classoid = 'pg_largeobject'::regclass
        OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 'public'::regnamespace))
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e')
   AND NOT (d.classoid = 'pg_am'::regclass AND d.objoid < 16384)
"""
_EXTENSION_DEPENDENCIES = """
SELECT (pg_identify_object(d.classid, d.objid, d.objsubid)).identity || ' on '
       || (pg_identify_object(d.refclassid, d.refobjid, 0)).identity, '{}'::jsonb FROM pg_depend d WHERE d.deptype = 'x'
"""
_SYSTEM_PRIVILEGES = " UNION ALL ".join(
    f"""
SELECT {_identity(catalog, "o")}, jsonb_build_object('privileges', {_acl(f"o.{acl}")})
  FROM {catalog} o
  LEFT JOIN pg_init_privs i ON i.objoid = o.oid AND i.classoid = '{catalog}'::regclass AND i.objsubid = 0
 WHERE o.{acl} IS DISTINCT FROM i.initprivs AND NOT ({_own(catalog, "o")})
"""
    for catalog, acl in (("pg_class", "relacl"), ("pg_proc", "proacl"), ("pg_type", "typacl"))
)
_DATABASE = f"""
SELECT 'itself', jsonb_build_object('owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
  'collate', d.datcollate, 'ctype', d.datctype, 'provider', to_jsonb(d) ->> 'datlocprovider',
  'locale', coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale'),
  'connection limit', d.datconnlimit, 'is open', d.datallowconn, 'is a template', d.datistemplate,
  'privileges', {_privileges("'d'", "d.datacl", "d.datdba")}, 'comment', shobj_description(d.oid, 'pg_database'))
  FROM pg_database d WHERE d.datname = current_database()
"""
_SETTINGS = """
SELECT CASE s.setrole WHEN 0 THEN 'of all' ELSE 'of ' || pg_get_userbyid(s.setrole) END,
       jsonb_build_object('settings', to_jsonb(s.setconfig))
  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()
"""
TABLES = f"""
SELECT c.oid::regclass::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
  LEFT JOIN pg_partitioned_table above ON above.partrelid = i.inhparent
  LEFT JOIN pg_partitioned_table here ON here.partrelid = c.oid
 WHERE {_USER_SCHEMA} AND {_own("pg_class", "c")} AND coalesce(above.partstrat, '-') <> 'h'
   AND (c.relkind = 'r' OR (c.relkind = 'm' AND c.relispopulated) OR here.partstrat = 'h') ORDER BY 1
"""
"""Whose rows are compared: each table's own, but those spread by hash together, which may be spread otherwise."""


def queries(major: int) -> dict[str, str]:
    """The query of each kind, for a server of a major."""
    return {
        "database": _DATABASE,
        "setting": _SETTINGS,
        "schema": _SCHEMAS,
        "extension": _EXTENSIONS,
        "relation": _RELATIONS,
        "column": _COLUMNS,
        "constraint": _CONSTRAINTS,
        "index": _INDEXES,
        "sequence": _SEQUENCES,
        "trigger": _TRIGGERS,
        "rule": _RULES,
        "policy": _POLICIES,
        "function": _FUNCTIONS,
        "type": _TYPES,
        "cast": _CASTS,
        "operator": _OPERATORS,
        "operator class": _OPERATOR_CLASSES,
        "operator family": _OPERATOR_FAMILIES,
        "collation": _COLLATIONS,
        "conversion": _CONVERSIONS,
        "text search configuration": _SEARCH_CONFIGURATIONS,
        "text search dictionary": _SEARCH_DICTIONARIES,
        "statistics": _STATISTICS,
        "publication": _publications(major),
        "event trigger": _EVENT_TRIGGERS,
        "foreign-data wrapper": _WRAPPERS,
        "foreign server": _SERVERS,
        "user mapping": _USER_MAPPINGS,
        "language": _LANGUAGES,
        "default privileges": _DEFAULT_PRIVILEGES,
        "large object": _LARGE_OBJECTS,
        "comment": _COMMENTS,
        "dependency": _EXTENSION_DEPENDENCIES,
        "system privileges": _SYSTEM_PRIVILEGES,
    }
