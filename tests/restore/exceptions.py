"""What is not as it was after a restore: each line with its reason. Everything else is equal."""

LOST_BY_PG_DUMP = (
    # CREATE COLLATION ... FROM "C" takes over that it is of any encoding; pg_dump has no words for that.
    'collation types."Plain Order", collencoding: -1 became 6',
    # Of a partition's key, which is dumped as a table's own and attached to the parent's then.
    "constraint ledger_2019_pkey on data.ledger_2019, is not inherited: false became true",
    "constraint ledger_else_pkey on data.ledger_else, is not inherited: false became true",
    # LIKE ... INCLUDING IDENTITY makes a bigint sequence for an int column; it comes back as the column's type.
    'sequence data."copied_Number_seq", type: bigint became integer',
)
"""By PostgreSQL's own pg_dump and psql too."""
