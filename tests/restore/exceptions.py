"""What is not as it was after a restore: each line with its reason. Everything else is equal.

The lines are regular expressions; `{owner}` is the admins' group that owns everything, `{reporter}` and `{auditor}`
are roles of the server that are none of dbtether's.
"""

import re
from collections.abc import Iterable

from tests.restore.everything import Roles

LOST_BY_PG_DUMP = (
    # CREATE COLLATION ... FROM "C" takes over that it is of any encoding; pg_dump has no words for that.
    r'collation types\."Plain Order", collencoding: -1 became 6',
    # Of a partition's key, which is dumped as a table's own and attached to the parent's then.
    r"constraint ledger_(2019|else)_pkey on data\.ledger_(2019|else), is not inherited: false became true",
    # LIKE ... INCLUDING IDENTITY makes a bigint sequence for an int column; it comes back as the column's type.
    r'sequence data\."copied_Number_seq", type: bigint became integer',
)
"""By PostgreSQL's own pg_dump and psql too."""

LEFT_TO_THE_TARGET = (
    # What the admins' objects give to others by default is the target's to say.
    r"default privileges . made by {owner} in (\"Sales\"|data|any schema): is missing",
    # An owner that took a privilege from itself has it again: it can give it to itself at any time.
    r'relation data\.(asleep|no_rows), privileges: has \["{owner}", "[A-Z]+", false\] too',
    # Privileges that were passed on by somebody else than the owner: a restore acts as nobody else.
    r'(relation data\.wife|large object 990002), privileges: lacks \["{auditor}", "SELECT", false\]',
)
"""By a restore of any kind."""

MADE_BEFOREHAND = (
    # An extension is made by the platform's admin, before the dump is loaded, and so is the schema it is to be in.
    r"extension (btree_gin|btree_gist|citext|hstore|pg_trgm), owner: {owner} became .*",
    r'schema "my schema", privileges: lacks \["{reporter}", "(USAGE|CREATE)", true\]',
)
"""Where the target has not got the extensions yet."""

GIVEN_BY_DEFAULT = (
    # What a restore makes gets the target's own default privileges, as all that is made there.
    r'(relation|large object) .*, privileges: has \["({auditor}", "INSERT|{reporter}", "SELECT)", false\] too',
    r'function .*, privileges: lacks \["PUBLIC", "EXECUTE", false\]',
)
"""Where somebody has set default privileges of the admins' group by hand, beside dbtether's own."""

NAMED_BY_18 = (
    # Before 18 a NOT NULL had no name; what names itself is named after the table that it is restored into.
    r'constraint \S+_not_null"? on .*: (is missing|should not be there)',
)
"""On the way from an older major to 18."""


def beyond(found: Iterable[str], roles: Roles, *expected: Iterable[str]) -> list[str]:
    """The differences that are no exception, and the exceptions that are none: empty when all is as documented."""
    patterns = [pattern for some in expected for pattern in some]
    seen = set()
    told = []
    for text in found:
        matching = [pattern for pattern in patterns if re.fullmatch(_named(pattern, roles), text)]
        seen.update(matching)
        told += [] if matching else [text]
    return told + [f"no longer an exception: {pattern}" for pattern in patterns if pattern not in seen]


def _named(pattern: str, roles: Roles) -> str:
    for name in ("owner", "reporter", "auditor"):
        pattern = pattern.replace(f"{{{name}}}", re.escape(getattr(roles, name)))
    return pattern
