"""The rows that a server has of each table of a dump: what a restore drill compares with what the dump showed."""

from collections.abc import Mapping

from dbtether.backup.restore.session import Session
from dbtether.backup.scanner import DumpDamaged, table_key

_SHOWN = 3
# The tables of an extension hold rows of its own beside those of the dump.
_TABLES = b"""
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
       c.relkind = 'p', c.relforcerowsecurity,
       EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
"""


def count_rows(session: Session, expected: Mapping[str, int]) -> None:
    """Count the rows of each table that the dump has data of, outside of any transaction.

    Raises DumpDamaged where the server has others than the dump showed, and what the session raises. Tables of
    extensions, foreign tables and those that an old dump names without their schema are not counted.
    """
    found: dict[str, int] = {}
    left: set[str] = set()
    for name, is_partitioned, is_forced, is_of_extension in session.run(_TABLES, "list the tables"):
        assert name is not None, "a table has a name"
        key = table_key(name)
        if key not in expected:
            continue
        if is_of_extension == b"t":
            left.add(key)
            continue
        # Two names that cannot be told apart are one in the dump's counts, too.
        found[key] = found.get(key, 0) + _count(session, name, is_partitioned == b"t", is_forced == b"t")
    wrong = [
        f"{key} has {found[key]:,} rows instead of {rows:,}"
        for key, rows in expected.items()
        if key not in left and key in found and found[key] != rows
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} tables more" if len(wrong) > _SHOWN else ""
        raise DumpDamaged(f"what was loaded is not what the dump showed: {', '.join(wrong[:_SHOWN])}{more}")


def _count(session: Session, name: bytes, is_partitioned: bool, is_forced: bool) -> int:
    doing = f"count the rows of {name.decode(errors='replace')}"
    session.run(b"BEGIN", "begin a transaction")
    if is_forced:
        # The owner counts what the owner's own policies would hide; it is taken back at once.
        session.run(b"ALTER TABLE " + name + b" NO FORCE ROW LEVEL SECURITY", doing)
    relation = name if is_partitioned else b"ONLY " + name
    ((count,),) = session.run(b"SELECT pg_catalog.count(*) FROM " + relation, doing)
    session.run(b"ROLLBACK", "end a transaction")
    return int(count or 0)
