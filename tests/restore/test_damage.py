"""A dump that is cut off, changed or exchanged: it is told, and the target is as it was."""

import random
import subprocess
from collections.abc import Callable, Mapping

import pytest
from tests.backup.unpacking import UNPACK
from tests.controllers.world import scenario
from tests.restore.pair import Pair, expectation, packed, rows_of

from dbtether.backup.clients import find_clients
from dbtether.backup.formats import DumpFormat
from dbtether.backup.restore.model import ExistingObjects, LoadWay
from dbtether.backup.scanner import DumpDamaged
from dbtether.errors import DbtetherError

pytestmark = pytest.mark.majors(13, 18)

FILL = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text)",
    "INSERT INTO orders SELECT n, 'note ' || md5(n::text) FROM generate_series(1, 4000) n",
    "CREATE TABLE others (id int)",
    "INSERT INTO others VALUES (1), (2), (3)",
    "CREATE INDEX ON orders (note)",
)
BEFORE = (
    "CREATE TABLE orders (old text); INSERT INTO orders VALUES ('kept'); CREATE VIEW v AS TABLE orders; "
    "CREATE SCHEMA old; CREATE TABLE old.t (id int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
)

CUTS: Mapping[str, Callable[[bytes], bytes]] = {
    "in the data, at the end of a line": lambda plain: plain[: plain.index(b"\n", plain.index(b"COPY ") + 900) + 1],
    "in the data, within a line": lambda plain: plain[: plain.index(b"COPY ") + 917],
    "before the end of the data": lambda plain: plain[: plain.index(b"\n\\.\n") + 1],
    "within the end of the data": lambda plain: plain[: plain.index(b"\n\\.\n") + 2],
    "after the data": lambda plain: plain[: plain.index(b"\n\\.\n") + 4],
    "inside a statement": lambda plain: plain[: plain.index(b"ALTER TABLE ONLY") + 12],
    "after a statement": lambda plain: plain[: plain.index(b";\n", plain.index(b"CREATE INDEX")) + 2],
    "inside the footer": lambda plain: plain[: plain.index(b"database dump complete")],
}


@pytest.mark.parametrize("format_", [DumpFormat.PLAIN, DumpFormat.GZIP])
@scenario
async def test_a_dump_that_is_cut_off_and_has_no_manifest_leaves_the_target_as_it_was(
    pair: Pair, format_: DumpFormat
) -> None:
    pair.fill(*FILL)
    pair.at(BEFORE, as_owner=True)
    before, plain = pair.contents(), pair.dump()
    for cut in CUTS.values():
        content = packed(cut(plain), format_)
        with pytest.raises(DumpDamaged):
            await pair.check(content, format_)
        with pytest.raises(DumpDamaged):
            await pair.load(content, format=format_, existing=ExistingObjects.DROP)
        assert pair.contents() == before
        assert not pair.is_committed


@pytest.mark.majors(18)
@scenario
async def test_psql_would_have_committed_a_dump_that_is_cut_off_in_its_data(pair: Pair) -> None:
    pair.fill(*FILL)
    content = CUTS["in the data, at the end of a line"](pair.dump())
    command = [find_clients(pair.server.major).path("psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]
    subprocess.run([*command, pair.server.dsn(dbname=pair.unique)], input=content, check=True, capture_output=True)
    ((rows,),) = pair.at("SELECT count(*) FROM orders")
    assert isinstance(rows, int)
    assert 0 < rows < 4000


@pytest.mark.parametrize("format_", [DumpFormat.GZIP, DumpFormat.ZSTD, DumpFormat.CUSTOM])
@pytest.mark.parametrize("part", [0.3, 0.97])
@scenario
async def test_a_stream_that_is_cut_off_leaves_the_target_as_it_was(
    pair: Pair, part: float, format_: DumpFormat
) -> None:
    pair.fill(*FILL)
    whole = pair.dump(format_)
    content = whole[: int(len(whole) * part)]
    with pytest.raises(DumpDamaged, match=r"cut off|cannot be read"):
        await pair.check(content, format_)
    with pytest.raises(DumpDamaged):
        await pair.load(content, format=format_)
    assert pair.is_empty
    assert not pair.is_committed


@pytest.mark.majors(18)
@pytest.mark.parametrize("way", LoadWay)
@pytest.mark.parametrize("format_", DumpFormat)
@scenario
async def test_a_bit_that_flipped_anywhere_is_found_by_both_passes(
    pair: Pair, format_: DumpFormat, way: LoadWay
) -> None:
    pair.fill(*FILL)
    whole = pair.dump(format_)
    plain = whole if format_.is_custom else UNPACK[format_](whole)
    expected = expectation(whole, plain, None if format_.is_custom else rows_of(plain))
    chance = random.Random(50)
    for _ in range(4 if way is LoadWay.STAGING else 10 if format_.is_custom else 50):
        position, bit = chance.randrange(len(whole)), chance.randrange(8)
        content = whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :]
        with pytest.raises(DbtetherError):
            await pair.check(content, format_, expected)
        with pytest.raises(DbtetherError):
            await pair.load(content, format=format_, expected=expected, way=way)
        assert not pair.is_committed
        if way is LoadWay.TRANSACTION:
            assert pair.is_empty
        else:
            pair.at(f'DROP OWNED BY "{pair.group}" CASCADE')
            pair.at(f'GRANT CONNECT, CREATE, TEMPORARY ON DATABASE "{pair.unique}" TO "{pair.group}"')
            pair.at(f'GRANT CREATE, USAGE ON SCHEMA public TO "{pair.group}"')
    await pair.load(whole, format=format_, expected=expected, way=way)
    assert pair.is_committed


@pytest.mark.parametrize("format_", DumpFormat)
@scenario
async def test_another_object_after_the_check_is_not_committed(pair: Pair, format_: DumpFormat) -> None:
    pair.fill(*FILL)
    whole = pair.dump(format_)
    findings = await pair.check(whole, format_)
    pair.fill("INSERT INTO others VALUES (4)")
    other = pair.dump(format_)
    pair.at(BEFORE, as_owner=True)
    before = pair.contents()
    plain = whole if format_.is_custom else UNPACK[format_](whole)
    expected = expectation(whole, plain)
    assert expected.stored.sha256 == findings.object_sha256
    assert expected.plain.sha256 == findings.plain_sha256
    with pytest.raises(DumpDamaged, match=r"of the object: .*, and the manifest says"):
        await pair.load(other, format=format_, expected=expected, existing=ExistingObjects.DROP)
    assert pair.contents() == before
    assert not pair.is_committed


@scenario
async def test_rows_that_are_not_those_of_the_manifest_are_not_committed(pair: Pair) -> None:
    pair.fill(*FILL)
    content = pair.dump()
    expected = expectation(content, content, {**rows_of(content), "public.others": 4})
    told = "4003 rows in 2 tables, and the manifest says 4004 in 2, by name and number"
    with pytest.raises(DumpDamaged, match=told):
        await pair.check(content, expected=expected)
    with pytest.raises(DumpDamaged, match=told):
        await pair.load(content, expected=expected)
    assert pair.is_empty


@scenario
async def test_rows_that_the_server_did_not_take_are_not_committed(pair: Pair) -> None:
    pair.fill(*FILL)
    eats = (
        b"CREATE FUNCTION public.eat() RETURNS trigger LANGUAGE plpgsql AS "
        b"$$ BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;\n"
        b"CREATE TRIGGER eat BEFORE INSERT ON public.others FOR EACH ROW EXECUTE FUNCTION public.eat();\n"
    )
    start = (plain := pair.dump()).index(b"COPY public.others")
    with pytest.raises(DumpDamaged, match="the server took 4,002 rows of 4,003"):
        await pair.load(plain[:start] + eats + plain[start:])
    assert pair.is_empty
