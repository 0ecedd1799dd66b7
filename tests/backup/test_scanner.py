"""What a plain dump holds, read in pieces of any size."""

import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtether.backup.scanner import DumpDamaged, DumpScanner, ScannedDump

HEADER = """--
-- PostgreSQL database dump
--

\\restrict abcDEF123

-- Dumped from database version 16.14
-- Dumped by pg_dump version 16.14 (Debian 16.14-1)

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
"""
FOOTER = """
--
-- PostgreSQL database dump complete
--

\\unrestrict abcDEF123

"""
ORDERS = "COPY public.orders (id, note) FROM stdin;\n1\tfirst\n2\t\\\\.\n3\t\\N\n\\.\n"


@dataclass
class Seen:
    """Keeps what a dump gives to its sink."""

    heads: list[str] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    ended: int = 0

    def statement(self, head: bytes, text: bytes, offset: int) -> None:
        self.heads.append(" ".join(head.decode().split()))
        self.texts.append(text)
        self.data.append(b"")

    def command(self, line: bytes, offset: int) -> None:
        self.commands.append(line)

    def rows(self, data: memoryview) -> None:
        self.data[-1] += bytes(data)

    def rows_end(self) -> None:
        self.ended += 1


def seen(text: str, piece: int = 0) -> Seen:
    found = Seen()
    scan(text, piece, found)
    return found


def scan(text: str, piece: int = 0, sink: Seen | None = None) -> ScannedDump:
    data = text.encode()
    scanner = DumpScanner(sink)
    for start in range(0, len(data), piece or len(data) or 1):
        scanner.feed(data[start : start + (piece or len(data))])
    return scanner.close()


def dump(*parts: str) -> str:
    return HEADER + "\n".join(parts) + FOOTER


def statements(text: str) -> list[str]:
    return seen(text).heads[2:]


def test_rows_are_counted_by_table_and_the_versions_are_read() -> None:
    found = scan(dump(ORDERS, "COPY public.empty (id) FROM stdin;\n\\.\n"))
    assert found.rows == {"public.orders": 3, "public.empty": 0}
    assert (found.server_version, found.client_version) == ("16.14", "16.14")


def test_a_table_that_is_loaded_in_several_parts_is_one_table() -> None:
    assert scan(dump(ORDERS, ORDERS)).rows == {"public.orders": 6}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('"My Schema"."Ta""ble (1);"', '"My Schema"."Ta""ble (1);"'),
        ('"public"."orders"', "public.orders"),
        ('"a"".""b"."c"', '"a"".""b".c'),
    ],
)
def test_names_are_told_with_the_quotes_that_they_need(written: str, told: str) -> None:
    assert scan(dump(f'COPY {written} ("a;b", c) FROM stdin;\n1\t2\n\\.\n')).rows == {told: 1}


NOT_DATA = {
    "the body of a function": "CREATE FUNCTION f() RETURNS void AS $_$\nCOPY t (a) FROM stdin;\n1\n$_$ LANGUAGE sql;",
    "a string over several lines": "COMMENT ON TABLE t IS 'see\nCOPY t (a) FROM stdin;\n'' \\';",
    "a string with escapes": "SELECT E'\\'\nCOPY t (a) FROM stdin;\n';",
    "a comment": "-- COPY t (a) FROM stdin;\n/* /* */ COPY t (a) FROM stdin;\n */ SELECT 1;",
    "a name": 'CREATE TABLE "x\nCOPY t (a) FROM stdin;\n" (a int);',
}


@pytest.mark.parametrize("text", NOT_DATA.values(), ids=NOT_DATA)
def test_what_looks_like_copy_is_not_taken_for_data_in(text: str) -> None:
    assert scan(dump(text, ORDERS)).rows == {"public.orders": 3}


CUT_AS_PSQL_DOES = {
    "two statements": ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
    "parentheses": ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);", None),
    "a dollar in a name": ("SELECT a$b$c FROM t; SELECT '$b$';", ["SELECT a$b$c FROM t", "SELECT ''"]),
    "parameters": ("PREPARE p AS SELECT $1; SELECT 2;", ["PREPARE p AS SELECT $1", "SELECT 2"]),
    "BEGIN ATOMIC": (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3;",
        [
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
            "SELECT 3",
        ],
    ),
    "an E that ends a word": ("SELECT type'\\'; SELECT 2;", ["SELECT type''", "SELECT 2"]),
    "strings that escape by default": (
        "SET standard_conforming_strings = off; SELECT '\\'; '; SELECT 2;",
        ["SET standard_conforming_strings = off", "SELECT ''", "SELECT 2"],
    ),
    "an empty statement": (";; SELECT 1;", ["SELECT 1"]),
}


@pytest.mark.parametrize(("text", "expected"), CUT_AS_PSQL_DOES.values(), ids=CUT_AS_PSQL_DOES)
def test_statements_are_cut_as_psql_cuts_them(text: str, expected: list[str] | None) -> None:
    assert statements(dump(text)) == (expected or [text.rstrip(";")])


@given(piece=st.integers(1, 200))
def test_the_size_of_the_pieces_changes_nothing(piece: int) -> None:
    parts = [*NOT_DATA.values(), ORDERS, *(text for text, _ in CUT_AS_PSQL_DOES.values())]
    text = dump(*(part for part in parts if "conforming" not in part))
    assert scan(text, piece) == scan(text)


@given(
    rows=st.lists(st.text(st.sampled_from("ab\\.\t'\"$-;/*"), max_size=6).filter(lambda t: t != "\\."), max_size=40),
    piece=st.integers(1, 50),
)
def test_every_row_is_counted_whatever_it_looks_like(rows: list[str], piece: int) -> None:
    data = "".join(f"{row}\n" for row in rows)
    assert scan(dump(f"COPY t (a) FROM stdin;\n{data}\\.\n"), piece).rows == {"t": len(rows)}


@given(st.data())
def test_a_dump_that_is_cut_off_anywhere_is_found_out(data: st.DataObject) -> None:
    text = dump(*NOT_DATA.values(), ORDERS)
    end = text.index("dump complete") + len("dump complete")
    cut = data.draw(st.integers(0, end - 1))
    with pytest.raises(DumpDamaged):
        scan(text[:cut])


def test_where_a_dump_is_cut_off_is_told() -> None:
    whole = dump(ORDERS)
    for cut, expected in (
        (whole.index("2\t"), r"cut off in the data of table public\.orders, after \d+ bytes"),
        (whole.index("FROM stdin"), "cut off inside a statement"),
        (whole.index("--\n-- PostgreSQL database dump complete"), "without the line `-- PostgreSQL database dump"),
    ):
        with pytest.raises(DumpDamaged, match=expected):
            scan(whole[:cut])


REFUSED = {
    "data on the line of the COPY": "COPY t (a) FROM stdin; SELECT 1;\n1\n\\.\n",
    "another form of COPY": "COPY t (a) FROM stdin WITH (FORMAT binary);\n\\.\n",
    "a command of psql inside a statement": "SELECT 1 \\gexec\n;",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_pg_dump_never_writes_is_refused(text: str) -> None:
    with pytest.raises(DumpDamaged):
        scan(dump(text))


def test_nothing_may_follow_the_footer() -> None:
    with pytest.raises(DumpDamaged, match="a statement after the footer: DROP TABLE t"):
        scan(dump(ORDERS) + "DROP TABLE t;\n")


def test_commands_of_psql_are_told_apart_from_sql() -> None:
    assert seen(dump("\\connect other")).commands == [b"restrict abcDEF123", b"connect other", b"unrestrict abcDEF123"]


@pytest.mark.parametrize("piece", [0, 1, 2, 3, 7, 64])
def test_a_sink_gets_statements_and_data_as_they_are(piece: int) -> None:
    text = dump(
        "-- Name: f; Type: FUNCTION\n\nCREATE FUNCTION f() RETURNS text AS $_$ -- kept\n;'$_$ LANGUAGE sql;",
        "COMMENT ON TABLE t IS E'it''s\\'; -- \\\\'; /* gone */",
        ORDERS,
        "COPY public.empty (id) FROM stdin;\n\\.\n",
        ";\nCREATE TABLE /* inside */ t ()",
        ";",
    )
    found = seen(text, piece)
    assert found.texts[2:] == [
        b"CREATE FUNCTION f() RETURNS text AS $_$ -- kept\n;'$_$ LANGUAGE sql",
        b"COMMENT ON TABLE t IS E'it''s\\'; -- \\\\'",
        b"COPY public.orders (id, note) FROM stdin",
        b"COPY public.empty (id) FROM stdin",
        b"CREATE TABLE /* inside */ t ()",
    ]
    assert found.data[2:] == [b"", b"", b"1\tfirst\n2\t\\\\.\n3\t\\N\n", b"", b""]
    assert found.ended == 2


def test_a_string_with_escapes_goes_on_with_escapes_after_a_line_break() -> None:
    assert statements(dump("SELECT E'a'\n'b\\'; ' , 'c\\';")) == ["SELECT E'' '' , ''"]


def test_a_statement_that_a_sink_would_have_to_keep_is_bounded() -> None:
    scanner = DumpScanner(Seen())
    for _ in range(31):
        scanner.feed(b"'" + b" " * (1 << 20) + b"'")
    with pytest.raises(DumpDamaged, match="a statement of more than 32 MiB"):
        scanner.feed(b"'" + b" " * (1 << 20) + b"'")


def test_memory_stays_bounded_in_a_statement_without_an_end() -> None:
    scanner = DumpScanner()
    for _ in range(200):
        scanner.feed(b"SELECT a, b, " * 1000)
    held = re.findall(rb"SELECT", bytes(scanner._head))  # noqa: SLF001
    assert len(held) < 50_000
