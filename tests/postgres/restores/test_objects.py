"""What lies in a database, who may not drop it, and the statements that drop all of it but extensions."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.postgres.core import desired_database, desired_login, rows, run, settle_database, settle_login
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredExtension, DesiredSchema
from dbtether.postgres.restores.model import RestoreTarget
from dbtether.postgres.restores.objects import ANYTHING, drop_query
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server

# As somebody of the admins' group makes them, in an order in which they can be made.
OBJECTS = (
    'CREATE SCHEMA "Odd Schema"',
    'CREATE TABLE "Odd Schema"."odd ""table"" %" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)',
    "CREATE TABLE app.parent (id serial PRIMARY KEY, at date NOT NULL DEFAULT '2026-01-01', word text)",
    "CREATE TABLE app.child (id int REFERENCES app.parent, more text) ",
    "ALTER TABLE app.parent ADD COLUMN child_count int DEFAULT 0",
    "CREATE TABLE app.part (k int, v text) PARTITION BY LIST (k)",
    "CREATE TABLE app.part_1 PARTITION OF app.part FOR VALUES IN (1)",
    "CREATE TABLE public.heir (extra int) INHERITS (app.parent)",
    "CREATE VIEW public.seen AS SELECT * FROM app.parent",
    "CREATE MATERIALIZED VIEW app.stored AS SELECT * FROM public.seen",
    "CREATE SEQUENCE app.alone",
    "CREATE TYPE app.mood AS ENUM ('good', 'bad')",
    "CREATE TYPE app.pair AS (a int, b app.mood)",
    "CREATE TYPE app.span AS RANGE (subtype = int4)",
    "CREATE DOMAIN app.positive AS int CHECK (VALUE > 0)",
    "CREATE FUNCTION app.f(app.mood, text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.f(app.positive[], VARIADIC int[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE PROCEDURE app.p(INOUT a int) LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE FUNCTION app.plus(app.mood, app.mood) RETURNS app.mood LANGUAGE sql AS 'SELECT $1'",
    "CREATE AGGREGATE app.total(app.mood) (SFUNC = app.plus, STYPE = app.mood)",
    "CREATE OPERATOR app.+ (FUNCTION = app.plus, LEFTARG = app.mood, RIGHTARG = app.mood)",
    "CREATE FUNCTION app.cube(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
    "CREATE OPERATOR app.@ (FUNCTION = app.cube, RIGHTARG = int)",
    "CREATE CAST (app.positive AS app.pair) WITH INOUT",
    "CREATE FUNCTION app.as_int(app.pair) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE CAST (app.pair AS int) WITH FUNCTION app.as_int(app.pair)",
    "CREATE COLLATION app.plain (PROVIDER = libc, LOCALE = 'C')",
    "CREATE CONVERSION app.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "CREATE TEXT SEARCH DICTIONARY app.words (TEMPLATE = pg_catalog.simple)",
    "CREATE TEXT SEARCH CONFIGURATION app.search (COPY = pg_catalog.simple)",
    "CREATE STATISTICS app.stats ON id, at FROM app.parent",
    "CREATE INDEX ON app.parent (word)",
    "CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER t BEFORE INSERT ON app.parent FOR EACH ROW EXECUTE FUNCTION app.touch()",
    "CREATE RULE r AS ON DELETE TO app.child DO INSTEAD NOTHING",
    "CREATE POLICY p ON app.parent",
    "CREATE PUBLICATION pub FOR TABLE app.parent",
    "SELECT lo_create(4711)",
    'ALTER DEFAULT PRIVILEGES IN SCHEMA "Odd Schema" GRANT SELECT ON TABLES TO PUBLIC',
    "CREATE TABLE public.uses_extension (word public.citext)",
)
# Counted without what belongs to another: the identity sequence, the partition's and the table's own types.
COUNTED = 34


@pytest.fixture
def filled(admin: Admin, unique: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session of the admins' group in a database with an extension and a schema of its own."""

    async def prepare(server: Server) -> None:
        database = desired_database(
            unique,
            extensions=(DesiredExtension("citext"), DesiredExtension("pg_trgm", schema="ext")),
            schemas=(DesiredSchema("app"), DesiredSchema("ext")),
        )
        await settle_database(server, database)
        await settle_login(server, desired_login(f"{unique}-u", (unique, Group.ADMIN)))

    run(admin, prepare)
    with psycopg.connect(
        admin.server.dsn(f"{unique}-u", "Correct7Horse", unique), autocommit=True, options="-c search_path=public"
    ) as connection:
        if admin.server.build.major < 15:
            rows(admin, "GRANT CREATE ON SCHEMA public TO PUBLIC", dbname=unique)
        yield connection


def _look(admin: Admin, database: str) -> RestoreTarget:
    found: list[RestoreTarget] = []

    async def look(server: Server) -> None:
        found.append(await server.restore_target(database, role_names(database)))

    run(admin, look)
    return found[0]


def _is_anything(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = connection.execute(ANYTHING).fetchone()
    assert row is not None
    return bool(row[0])


def _drop_everything(connection: psycopg.Connection[tuple[object, ...]], *kept: str) -> list[str]:
    with connection.transaction():
        statements = [str(text) for (text,) in connection.execute(drop_query(kept)).fetchall()]
        for text in statements:
            connection.execute(text.encode())
    return statements


def test_a_new_database_with_extensions_is_empty(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]]
) -> None:
    assert not _is_anything(filled)
    found = _look(admin, unique)
    assert (found.objects, found.examples, found.undroppable_count) == (0, (), 0)
    assert found.schemas == {"public", "app", "ext"}
    assert found.droppable_schemas == {"app"}
    assert found.surviving_schemas(["app"]) == {"public", "app", "ext"}
    assert found.surviving_schemas([]) == {"public", "ext"}
    assert found.lock_capacity >= 64 * 20
    assert found.size_bytes > 1_000_000
    assert _drop_everything(filled, "app") == []


def test_everything_is_listed_and_dropped_and_extensions_stay(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]]
) -> None:
    for text in OBJECTS:
        filled.execute(text.encode())
    found = _look(admin, unique)
    assert (found.undroppable, found.objects) == ((), COUNTED), found
    assert found.examples[0] == "publication pub"
    assert found.locks > COUNTED
    statements = _drop_everything(filled, "app")
    assert len(statements) < 25
    assert not _is_anything(filled)
    after = _look(admin, unique)
    assert after.objects == 0
    assert after.schemas == {"public", "app", "ext"}
    assert rows(admin, "SELECT extname::text FROM pg_extension ORDER BY 1", dbname=unique) == [
        ("citext",),
        ("pg_trgm",),
        ("plpgsql",),
    ]
    assert rows(admin, "SELECT 'a'::citext = 'A', ext.similarity('a', 'a')", dbname=unique) == [(True, 1.0)]
    assert _drop_everything(filled, "app") == []


UNDROPPABLE = {
    "a stranger's table": ("CREATE TABLE public.strange (id int)", "table public.strange"),
    "a stranger's function": (
        "CREATE FUNCTION public.strange(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function public.strange(integer)",
    ),
    "a publication of all tables": ("CREATE PUBLICATION strange FOR ALL TABLES", "publication strange"),
    "an event trigger": (
        (
            "CREATE FUNCTION ext.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
            "CREATE EVENT TRIGGER strange ON ddl_command_start EXECUTE FUNCTION ext.watch()"
        ),
        "event trigger strange",
    ),
    "a cast between types of the server": (
        "CREATE CAST (text AS uuid) WITH INOUT",
        "cast (pg_catalog.text AS pg_catalog.uuid)",
    ),
    "a large object": ("SELECT lo_create(4712)", "large object 4712"),
    "a foreign server": (
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER strange FOREIGN DATA WRAPPER far",
        "server strange",
    ),
}


@pytest.mark.parametrize(("made", "told"), UNDROPPABLE.values(), ids=UNDROPPABLE)
def test_what_is_somebody_elses_is_told(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]], made: str, told: str
) -> None:
    with admin.server.connect(dbname=unique) as superuser:
        superuser.execute(made.encode())
    assert _is_anything(filled)
    found = _look(admin, unique)
    assert told in found.undroppable
    assert found.undroppable_count == len(found.undroppable)
    with pytest.raises(psycopg.Error):
        _drop_everything(filled)


def test_whoever_owns_a_schema_may_drop_what_is_in_it(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]]
) -> None:
    with admin.server.connect(dbname=unique) as superuser:
        superuser.execute("CREATE TABLE app.strange (id int)")
    found = _look(admin, unique)
    assert (found.objects, found.undroppable) == (1, ())
    assert len(_drop_everything(filled, "app")) == 1


def test_a_schema_that_holds_something_unknown_is_not_dropped(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]]
) -> None:
    filled.execute("CREATE SCHEMA later")
    [(text,)] = filled.execute(drop_query(["app"])).fetchall()
    # As a kind of object that no query here knows would be left in it.
    filled.execute("CREATE TABLE later.t ()")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        filled.execute(str(text).encode())


def test_thousands_of_tables_go_in_a_few_statements(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]]
) -> None:
    filled.execute("DO $$ BEGIN FOR i IN 1..2500 LOOP EXECUTE format('CREATE TABLE app.t%s ()', i); END LOOP; END $$")
    found = _look(admin, unique)
    assert found.objects == 2500
    with filled.transaction():
        assert len(_drop_everything(filled, "app")) == 3
        row = filled.execute("SELECT count(*)::int FROM pg_locks WHERE pid = pg_backend_pid()").fetchone()
        assert row is not None
        assert 0.9 * found.locks < int(str(row[0])) < 1.1 * found.locks
    assert not _is_anything(filled)


def test_foreign_roles_with_privileges_inside_are_told(
    admin: Admin, unique: str, filled: psycopg.Connection[tuple[object, ...]]
) -> None:
    filled.execute("CREATE TABLE app.t ()")
    rows(admin, f'CREATE ROLE "{unique}-reader"')
    filled.execute(f'GRANT SELECT ON app.t TO "{unique}-reader"'.encode())
    assert f"{unique}-reader" in _look(admin, unique).grantees
    assert not any(name.startswith("dbtether_") for name in _look(admin, unique).grantees)
