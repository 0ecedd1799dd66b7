"""Whether what is read of a server's shared catalogs may be a little old.

A look that only the clock asked for finds nothing new almost always. For such a look one picture of all that
is ours serves thousands of resources; whoever finds a difference in it must look again before acting on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_age: ContextVar[float | None] = ContextVar("age_of_glances", default=None)


def glance_seconds() -> float | None:
    """How old an answer may be in the running task's look, which then changes nothing; None in any other."""
    return _age.get()


@contextmanager
def glancing(seconds: float) -> Iterator[None]:
    """Make the block such a look."""
    token = _age.set(seconds)
    try:
        yield
    finally:
        _age.reset(token)
