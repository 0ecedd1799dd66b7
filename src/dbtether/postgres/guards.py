"""Guards: small pure rules over what is desired, observed and planned, each named for the bad state it finds.

A list of guards is tried in its order; the first that answers blocks. Later ones may rely on earlier ones
having passed.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from psycopg import sql

from dbtether.errors import Blocked

Desired = TypeVar("Desired")
Observed = TypeVar("Observed")

Verdict = Blocked | None


def first_blocked(
    guards: Iterable[Callable[[Desired, Observed], Verdict]], desired: Desired, observed: Observed
) -> Verdict:
    """The answer of the first guard that blocks, or None."""
    return next((found for guard in guards if (found := guard(desired, observed)) is not None), None)


def quoted(name: str) -> str:
    """A name as it stands in a statement that a DBA is asked to run."""
    return sql.Identifier(name).as_string(None)
