"""The isolation matrix: what the users of one tenant may do, row by row. Read it like documentation.

Each row has what is tried, the SQL, and one cell for a readonly, a readwrite and an admin user of the database.
`OPEN` is what PostgreSQL lets every login do and dbtether cannot close: docs/security.md must say so, in the words
of the row's last column.
"""

from collections.abc import Callable
from dataclasses import dataclass

YES, NO, OPEN = "yes", "no", "open"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a cell may depend on."""

    major: int
    is_superuser: bool
    """Whether the platform's admin is one."""


Cell = str | Callable[[Ground], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. In the SQL stand {places}; `CONNECT x` tries to log in to a database."""

    what: str
    sql: str
    readonly: Cell
    readwrite: Cell
    admin: Cell
    documented: str = ""
    """Words of docs/security.md, for a row with an open cell."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Rows that are tried in the same database."""

    name: str
    rules: tuple[Rule, ...]
    database: str = "own"
    objects: tuple[str, ...] = ("",)
    """The names that {p} stands for, one after the other."""
    applies: Callable[[Ground], bool] = lambda _: True

    def __str__(self) -> str:
        return self.name


def _since(major: int, then: str, before: str = NO) -> Cell:
    return lambda ground: then if ground.major >= major else before


def _public_is_open(ground: Ground) -> str:
    """Before 15 schema public is the bootstrap superuser's, and every login may create in it."""
    return OPEN if ground.major < 15 and not ground.is_superuser else NO


_PUBLIC = "every login that can connect may create objects in the schema `public`"
_FUNCTIONS = "New functions may be executed by `PUBLIC`"
_NAMES = "Names of all databases and roles, their comments and memberships"
_DOOR = "A login that may connect to `postgres` or `template1`"
_OWN_ROLE = "A login may change its own password"
_LARGE = "create large objects"
_ACTIVITY = "Who is connected to which database"

TABLES = (
    # what                    SQL                                                     readonly readwrite admin
    Rule("read a table", "SELECT * FROM public.{p}_t", YES, YES, YES),
    Rule("read a table of a schema", "SELECT * FROM {p}_s.t", YES, YES, YES),
    Rule("read a view", "SELECT * FROM public.{p}_v", YES, YES, YES),
    Rule("read a materialized view", "SELECT * FROM public.{p}_m", YES, YES, YES),
    Rule("copy a table out", "COPY public.{p}_t TO STDOUT", YES, YES, YES),
    Rule("insert", "INSERT INTO public.{p}_t DEFAULT VALUES", NO, YES, YES),
    Rule("update", "UPDATE public.{p}_t SET v = 'x'", NO, YES, YES),
    Rule("delete", "DELETE FROM public.{p}_t", NO, YES, YES),
    Rule("insert through a view", "INSERT INTO public.{p}_v (v) VALUES ('x')", NO, YES, YES),
    Rule("lock readers out", "LOCK TABLE public.{p}_t IN ACCESS EXCLUSIVE MODE", NO, YES, YES),
    Rule("truncate", "TRUNCATE public.{p}_t", NO, NO, YES),
    Rule("add a trigger", "CREATE TRIGGER x BEFORE INSERT ON public.{p}_t EXECUTE FUNCTION x.nothing()", NO, NO, YES),
    Rule("refer to it", "CREATE TABLE x.r (id int REFERENCES public.{p}_t)", NO, NO, YES),
)
_CREATE = Rule("create in a schema", "CREATE TABLE {p}_s.x ()", NO, NO, YES)
_REFRESH = Rule("refresh a materialized view", "REFRESH MATERIALIZED VIEW public.{p}_m", NO, NO, YES)
# What only the owner may: the admins own together what any of them makes.
OWNED = (
    Rule("alter a table", "ALTER TABLE public.{p}_t ADD x int", NO, NO, YES),
    Rule("index a table", "CREATE INDEX ON public.{p}_t (v)", NO, NO, YES),
    Rule("drop a table", "DROP TABLE public.{p}_t CASCADE", NO, NO, YES),
    Rule("comment on a table", "COMMENT ON TABLE public.{p}_t IS 'x'", NO, NO, YES),
    Rule("grant a table on", "GRANT SELECT ON public.{p}_t TO {other_login}", NO, NO, YES),
    Rule("let PUBLIC read a table", "GRANT SELECT ON public.{p}_t TO PUBLIC", NO, NO, YES),
    Rule("set row security", "ALTER TABLE public.{p}_t ENABLE ROW LEVEL SECURITY", NO, NO, YES),
    Rule("replace a view", "CREATE OR REPLACE VIEW public.{p}_v AS SELECT 1 AS id, 'x' AS v", NO, NO, YES),
    _REFRESH,
    Rule("drop a view", "DROP VIEW public.{p}_v", NO, NO, YES),
    _CREATE,
    Rule("drop a schema", "DROP SCHEMA {p}_s CASCADE", NO, NO, YES),
    Rule("rename a schema", "ALTER SCHEMA {p}_s RENAME TO y", NO, NO, YES),
    Rule("let PUBLIC into a schema", "GRANT USAGE ON SCHEMA {p}_s TO PUBLIC", NO, NO, YES),
    Rule("restart a sequence", "ALTER SEQUENCE public.{p}_t_id_seq RESTART", NO, NO, YES),
    Rule("drop a sequence", "DROP SEQUENCE public.{p}_t_id_seq CASCADE", NO, NO, YES),
    Rule(
        "replace a function",
        "CREATE OR REPLACE FUNCTION public.{p}_f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        NO,
        NO,
        YES,
    ),
    Rule("drop a function", "DROP FUNCTION public.{p}_f()", NO, NO, YES),
    Rule("alter a type", "ALTER TYPE public.{p}_e RENAME VALUE 'a' TO 'b'", NO, NO, YES),
    Rule("drop a type", "DROP TYPE public.{p}_e", NO, NO, YES),
    Rule("delete a large object", "SELECT lo_unlink({p}_lo)", NO, NO, YES),
    Rule("give a table away", "ALTER TABLE public.{p}_t OWNER TO {owner}", NO, NO, NO),
)
SEQUENCES = (
    Rule("read a sequence", "SELECT last_value FROM public.{p}_t_id_seq", YES, YES, YES),
    Rule("advance a sequence", "SELECT nextval('public.{p}_t_id_seq')", NO, YES, YES),
    Rule("set a sequence", "SELECT setval('public.{p}_t_id_seq', 7)", NO, YES, YES),
)
PUBLICS = (
    Rule("call a function", "SELECT public.{p}_f()", OPEN, OPEN, YES, _FUNCTIONS),
    Rule("call one that acts as its owner", "SELECT public.{p}_d()", OPEN, OPEN, YES, _FUNCTIONS),
    Rule("use a type", "CREATE TEMP TABLE x (e public.{p}_e)", YES, YES, YES),
)
_LO_18 = (
    Rule("read a large object", "SELECT lo_get({p}_lo)", _since(18, YES), _since(18, YES), YES),
    Rule("write a large object", "SELECT lo_put({p}_lo, 0, 'x')", NO, _since(18, YES), YES),
)


def _nobody(*rules: Rule) -> tuple[Rule, ...]:
    return tuple(Rule(rule.what, rule.sql, NO, NO, NO) for rule in rules)


def _only_18(*rules: Rule) -> tuple[Rule, ...]:
    """An admin has no more than its group was granted on objects that are not the group's."""
    return tuple(Rule(r.what, r.sql, r.readonly, r.readwrite, _since(18, YES)) for r in rules)


OWN_DATABASE = (
    Rule("make a temporary table", "CREATE TEMP TABLE x ()", YES, YES, YES),
    Rule("make a large object", "SELECT lo_create(0)", OPEN, OPEN, YES, _LARGE),
    Rule("create in schema public", "CREATE TABLE public.x ()", _public_is_open, _public_is_open, YES, _PUBLIC),
    Rule("make a schema", "CREATE SCHEMA y", NO, NO, YES),
    Rule("make a trusted extension", "CREATE EXTENSION citext SCHEMA x", NO, NO, YES),
    Rule("make an untrusted extension", "CREATE EXTENSION file_fdw", NO, NO, NO),
    Rule("make a publication", "CREATE PUBLICATION x", NO, NO, YES),
    Rule("publish everything", "CREATE PUBLICATION x FOR ALL TABLES", NO, NO, NO),
    Rule("subscribe", "CREATE SUBSCRIPTION x CONNECTION 'dbname=x' PUBLICATION x WITH (connect=false)", NO, NO, NO),
    Rule("make an event trigger", "CREATE EVENT TRIGGER x ON sql_drop EXECUTE FUNCTION x.nothing()", NO, NO, NO),
    Rule("make a foreign-data wrapper", "CREATE FOREIGN DATA WRAPPER x", NO, NO, NO),
    Rule("make an untrusted function", "CREATE FUNCTION x.c() RETURNS int LANGUAGE internal AS 'now'", NO, NO, NO),
    Rule("change the catalog", "UPDATE pg_database SET datallowconn = false", NO, NO, NO),
    Rule("grant for others' objects", "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC",
         NO, NO, NO),
    Rule("read large objects behind the API", "SELECT * FROM pg_largeobject", NO, NO, NO),
    Rule("turn triggers off", "SET session_replication_role = replica", NO, NO, NO),
)  # fmt: skip
SERVER = (
    Rule("read a file", "SELECT pg_read_file('PG_VERSION')", NO, NO, NO),
    Rule("list files", "SELECT pg_ls_dir('.')", NO, NO, NO),
    Rule("copy from a file", "COPY x.mine FROM '/etc/passwd'", NO, NO, NO),
    Rule("run a program", "COPY x.mine FROM PROGRAM 'true'", NO, NO, NO),
    Rule("import a file", "SELECT lo_import('/etc/passwd')", NO, NO, NO),
    Rule("load a library", "LOAD 'auto_explain'", NO, NO, NO),
    Rule("read passwords", "SELECT rolpassword FROM pg_authid", NO, NO, NO),
    Rule("read mappings' passwords", "SELECT * FROM pg_user_mapping", NO, NO, NO),
    Rule("configure the server", "ALTER SYSTEM SET work_mem = '1MB'", NO, NO, NO),
    Rule("reload the configuration", "SELECT pg_reload_conf()", NO, NO, NO),
    Rule("log everything", "SET log_statement = 'all'", NO, NO, NO),
    Rule("log nothing", "SET log_min_messages = 'panic'", NO, NO, NO),
    Rule("set for everybody", "ALTER ROLE ALL SET work_mem = '4MB'", NO, NO, NO),
    Rule("make a tablespace", "CREATE TABLESPACE x LOCATION '/tmp'", NO, NO, NO),
    Rule("make a replication slot", "SELECT pg_create_physical_replication_slot('x')", NO, NO, NO),
    Rule("make a database", "CREATE DATABASE stolen", NO, NO, NO),
    Rule("make a role", "CREATE ROLE stolen", NO, NO, NO),
    Rule("write a checkpoint", "CHECKPOINT", NO, NO, NO),
)
# Tried in the database postgres, where no setting is in the way; each is its group there.
MARKS = (
    Rule("drop the database", "DROP DATABASE {own} WITH (FORCE)", NO, NO, NO),
    Rule("rename it", "ALTER DATABASE {own} RENAME TO stolen", NO, NO, NO),
    Rule("own it", "ALTER DATABASE {own} OWNER TO {login}", NO, NO, NO),
    Rule("close it", "ALTER DATABASE {own} ALLOW_CONNECTIONS false", NO, NO, NO),
    Rule("make it a template", "ALTER DATABASE {own} IS_TEMPLATE true", NO, NO, NO),
    Rule("limit it", "ALTER DATABASE {own} CONNECTION LIMIT 0", NO, NO, NO),
    Rule("set in it", "ALTER DATABASE {own} SET work_mem = '4MB'", NO, NO, NO),
    Rule("forge its comment", "COMMENT ON DATABASE {own} IS 'dbtether:evil/x@test'", NO, NO, NO),
    Rule("let PUBLIC in", "GRANT CONNECT ON DATABASE {own} TO PUBLIC", NO, NO, NO),
    Rule("let a neighbour in", "GRANT ALL ON DATABASE {own} TO {other_login}", NO, NO, NO),
    Rule("shut others out", "REVOKE CONNECT ON DATABASE {own} FROM {readonly}", NO, NO, NO),
)
ROLES = (
    Rule("change its own password", "ALTER ROLE {session} PASSWORD 'x'", OPEN, OPEN, OPEN, _OWN_ROLE),
    Rule("change its own settings", "ALTER ROLE {session} SET work_mem = '4MB'", OPEN, OPEN, OPEN, _OWN_ROLE),
    Rule("change its own expiry", "ALTER ROLE {session} VALID UNTIL 'infinity'", NO, NO, NO),
    Rule("change its own limit", "ALTER ROLE {session} CONNECTION LIMIT -1", NO, NO, NO),
    Rule("make itself more", "ALTER ROLE {session} CREATEROLE", NO, NO, NO),
    Rule("rename itself", "ALTER ROLE {session} RENAME TO stolen", NO, NO, NO),
    Rule("forge its own marker", "COMMENT ON ROLE {session} IS 'dbtether:evil/x@test'", NO, NO, NO),
    Rule("forge the owner's marker", "COMMENT ON ROLE {owner} IS 'dbtether:evil/x@test'", NO, NO, NO),
    Rule("set a colleague's password", "ALTER ROLE {second} PASSWORD 'x'", NO, NO, NO),
    Rule("set a colleague's settings", "ALTER ROLE {second} SET search_path = evil", NO, NO, NO),
    # Without effect: settings are a login's, and nobody logs in as the group.
    Rule("set the group's settings", "ALTER ROLE {admins} SET search_path = evil", NO, NO, OPEN, _OWN_ROLE),
    Rule("let the group log in", "ALTER ROLE {admins} LOGIN PASSWORD 'x'", NO, NO, NO),
    Rule("drop a colleague", "DROP ROLE {second}", NO, NO, NO),
    Rule("take a colleague's group", "REVOKE {admins} FROM {second}", NO, NO, NO),
    Rule("join the owner", "GRANT {owner} TO {session}", NO, NO, NO),
    Rule("join the admins anew", "GRANT {admins} TO {readwrite}", NO, NO, NO),
    Rule("put a neighbour into a group", "GRANT {readonly} TO {other_login}", NO, NO, NO),
    Rule("be the owner", "SET ROLE {owner}", NO, NO, NO),
    Rule("be a colleague", "SET ROLE {second}", NO, NO, NO),
    Rule("be the platform's admin", "SET ROLE {platform}", NO, NO, NO),
    Rule("log in as another", "SET SESSION AUTHORIZATION {second}", NO, NO, NO),
    Rule("end a colleague's session", "SELECT pg_terminate_backend({second_pid})", NO, NO, NO),
    Rule("cancel a colleague's query", "SELECT pg_cancel_backend({second_pid})", NO, NO, NO),
    Rule("end the platform's session", "SELECT pg_terminate_backend({platform_pid})", NO, NO, NO),
    Rule("see who else may what", "SELECT * FROM pg_auth_members", OPEN, OPEN, OPEN, _NAMES),
)
NEIGHBOUR = (
    Rule("connect", "CONNECT {other}", NO, NO, NO),
    Rule("drop the database", "DROP DATABASE {other} WITH (FORCE)", NO, NO, NO),
    Rule("rename it", "ALTER DATABASE {other} RENAME TO stolen", NO, NO, NO),
    Rule("own it", "ALTER DATABASE {other} OWNER TO {login}", NO, NO, NO),
    Rule("close it", "ALTER DATABASE {other} ALLOW_CONNECTIONS false", NO, NO, NO),
    Rule("set in it", "ALTER DATABASE {other} SET role = 'none'", NO, NO, NO),
    Rule("forge its comment", "COMMENT ON DATABASE {other} IS 'x'", NO, NO, NO),
    Rule("let itself in", "GRANT CONNECT ON DATABASE {other} TO {login}", NO, NO, NO),
    Rule("copy it", "CREATE DATABASE stolen TEMPLATE {other}", NO, NO, NO),
    Rule("measure it", "SELECT pg_database_size({other_text})", NO, NO, NO),
    Rule("join its groups", "GRANT {other_admins} TO {login}", NO, NO, NO),
    Rule("be its group", "SET ROLE {other_admins}", NO, NO, NO),
    Rule("be its owner", "SET ROLE {other_owner}", NO, NO, NO),
    Rule("be its login", "SET ROLE {other_login}", NO, NO, NO),
    Rule("set its login's password", "ALTER ROLE {other_login} PASSWORD 'x'", NO, NO, NO),
    Rule("set its login's role", "ALTER ROLE {other_login} IN DATABASE {other} SET role = 'none'", NO, NO, NO),
    Rule("rename its login", "ALTER ROLE {other_login} RENAME TO stolen", NO, NO, NO),
    Rule("drop its login", "DROP ROLE {other_login}", NO, NO, NO),
    Rule("take what its login owns", "REASSIGN OWNED BY {other_login} TO {login}", NO, NO, NO),
    Rule("drop what its login owns", "DROP OWNED BY {other_login}", NO, NO, NO),
    Rule("forge its owner's marker", "COMMENT ON ROLE {other_owner} IS 'x'", NO, NO, NO),
    Rule("forge its login's marker", "COMMENT ON ROLE {other_login} IS 'x'", NO, NO, NO),
    Rule("end its session", "SELECT pg_terminate_backend({other_pid})", NO, NO, NO),
    Rule("cancel its query", "SELECT pg_cancel_backend({other_pid})", NO, NO, NO),
    Rule("read its query", "SELECT 1/count(*) FROM pg_stat_activity WHERE pid = {other_pid} "
         "AND query <> '<insufficient privilege>'", NO, NO, NO),
    Rule("see its name and comment", "SELECT 1/count(shobj_description(oid, 'pg_database')) FROM pg_database "
         "WHERE datname = {other_text}", OPEN, OPEN, OPEN, _NAMES),
    Rule("see its logins and marks", "SELECT 1/count(*) FROM pg_shdescription WHERE description LIKE 'dbtether:%'",
         OPEN, OPEN, OPEN, _NAMES),
    Rule("see who is connected", "SELECT 1/count(*) FROM pg_stat_activity WHERE datname = {other_text}",
         OPEN, OPEN, OPEN, _ACTIVITY),
    Rule("see how busy it is", "SELECT 1/count(*) FROM pg_stat_database WHERE datname = {other_text}",
         OPEN, OPEN, OPEN, _ACTIVITY),
    Rule("see its privileges", "SELECT 1/count(datacl) FROM pg_database WHERE datname = {other_text}",
         OPEN, OPEN, OPEN, _NAMES),
)  # fmt: skip
_IN_OLD_PUBLIC: Cell = _since(15, NO, OPEN)
MAINTENANCE = (
    Rule("connect to postgres", "CONNECT postgres", OPEN, OPEN, OPEN, _DOOR),
    Rule("connect to template1", "CONNECT template1", OPEN, OPEN, OPEN, _DOOR),
    Rule("connect to template0", "CONNECT template0", NO, NO, NO),
    Rule("make a large object", "SELECT lo_create(0)", OPEN, OPEN, OPEN, _LARGE),
    Rule("hold a lock", "SELECT pg_advisory_xact_lock(1)", OPEN, OPEN, OPEN, _DOOR),
    Rule("make a table", "CREATE TABLE public.x ()", _IN_OLD_PUBLIC, _IN_OLD_PUBLIC, _IN_OLD_PUBLIC,
         "a tenant can leave tables and functions in their schema `public`"),
    Rule("make a schema", "CREATE SCHEMA x", NO, NO, NO),
    Rule("make an extension", "CREATE EXTENSION citext", NO, NO, NO),
    Rule("drop postgres", "DROP DATABASE template1", NO, NO, NO),
    Rule("comment on postgres", "COMMENT ON DATABASE postgres IS 'x'", NO, NO, NO),
)  # fmt: skip
_TEMPORARY = Rule("make a temporary table", "CREATE TEMP TABLE x ()", OPEN, OPEN, OPEN, _DOOR)
# The groups have their privileges on it by default, and MAINTAIN since 17; owning it is another matter.
_OF_THE_PLATFORM = (
    *_nobody(*(rule for rule in OWNED if rule not in (_CREATE, _REFRESH))),
    _CREATE,
    Rule(_REFRESH.what, _REFRESH.sql, NO, NO, _since(17, YES)),
)

TOPICS = (
    Topic("what any admin of the database made", (*TABLES, *OWNED, *SEQUENCES, *PUBLICS, *_LO_18),
          objects=("early", "late")),
    # A lesser admin that is let in only by its groups (16 and newer) makes nothing in a tenant's database.
    Topic("what the platform's admin made",
          (*TABLES, *_OF_THE_PLATFORM, *SEQUENCES, *PUBLICS, *_only_18(*_LO_18)),
          objects=("platform",), applies=lambda ground: ground.is_superuser or ground.major < 16),
    Topic("what a reader or writer made", _nobody(*_LO_18, OWNED[-2]), objects=("reader",)),
    Topic("the own database", OWN_DATABASE),
    Topic("the server", SERVER),
    Topic("the own database's properties and marks", MARKS, database="postgres"),
    Topic("roles", ROLES),
    Topic("another tenant's database", NEIGHBOUR),
    Topic("another tenant's database, from postgres", NEIGHBOUR, database="postgres"),
    Topic("the maintenance database", (*MAINTENANCE, _TEMPORARY), database="postgres"),
    Topic("template1", MAINTENANCE, database="template1"),
)  # fmt: skip
