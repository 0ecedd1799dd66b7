"""What was dumped is there again: each format, each way, each kind of object."""

import pytest
from tests.backup.unpacking import UNPACK
from tests.controllers.world import scenario
from tests.restore.pair import Pair, expectation, rows_of

from dbtether.backup.formats import DumpFormat
from dbtether.backup.restore.model import ExistingObjects, LoadWay

pytestmark = pytest.mark.majors(13, 16, 18)

SIMPLE = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text)",
    r"""INSERT INTO orders SELECT n, 'note ' || n || E' with \\. and \t and \n and -- and \\connect x' || E'\n\\.\n;'
          FROM generate_series(1, 3000) n""",
    "CREATE TABLE empty (id int)",
    'CREATE SCHEMA "Od d;"',
    'CREATE TABLE "Od d;"."ta""b;" ("a;b" int)',
    """INSERT INTO "Od d;"."ta""b;" VALUES (1), (NULL)""",
    "CREATE VIEW shown AS SELECT id FROM orders",
)


@pytest.mark.parametrize("way", LoadWay)
@pytest.mark.parametrize("format_", DumpFormat)
@scenario
async def test_each_format_comes_back_in_each_way_and_belongs_to_the_owner(
    pair: Pair, format_: DumpFormat, way: LoadWay
) -> None:
    pair.fill(*SIMPLE)
    content = pair.dump(format_)
    plain = content if format_.is_custom else UNPACK[format_](content)
    expected = expectation(content, plain, None if format_.is_custom else rows_of(plain))
    findings = await pair.check(content, format_, expected)
    assert (findings.tables, findings.rows, findings.schemas) == (3, 3002, ("Od d;",))
    found = await pair.load(content, format=format_, way=way, expected=expected)
    assert (found.tables, found.rows) == (3, 3002)
    assert pair.contents() == [
        ('"Od d;"."ta""b;"', "r", pair.group, "a;b integer", 2),
        ("empty", "r", pair.group, "id integer", 0),
        ("orders", "r", pair.group, "id integer, note text", 3000),
        ("orders_pkey", "i", pair.group, "id integer", None),
        ("shown", "v", pair.group, "id integer", None),
    ]
    assert pair.is_committed
    with pair.source_server.connect(dbname=pair.source) as connection:
        wanted = connection.execute("SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o").fetchall()
    assert pair.at("SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o") == wanted


@scenario
async def test_what_was_there_is_replaced_in_the_same_transaction(pair: Pair) -> None:
    pair.fill(*SIMPLE)
    pair.at("CREATE TABLE orders (old text); CREATE TABLE other (id int); CREATE VIEW v AS TABLE orders", as_owner=True)
    await pair.load(pair.dump(), existing=ExistingObjects.DROP)
    assert [row[0] for row in pair.contents()] == ['"Od d;"."ta""b;"', "empty", "orders", "orders_pkey", "shown"]
    assert pair.is_committed
