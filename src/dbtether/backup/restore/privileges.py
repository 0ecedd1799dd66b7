"""Which GRANT and REVOKE of a dump run: those to PUBLIC and to roles that are known to be the same. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from dbtether.backup.restore.model import Rules
from dbtether.backup.restore.words import unquoted

_OUR_ROLES = "dbtether_"
_LABEL = "privileges of roles"
_ENDINGS = (["WITH", "GRANT", "OPTION"], ["CASCADE"], ["RESTRICT"])
# Not the dump's own objects.
_NOT_INSIDE = frozenset({"DATABASE", "LANGUAGE", "TABLESPACE", "PARAMETER"})


def left_out_privilege(tokens: Sequence[str], rules: Rules) -> tuple[str | None, str | None]:
    """Why a GRANT or REVOKE is refused, and under which name it is left out; both None for what is to be run."""
    upper = [token.upper() for token in tokens]
    if "ON" not in upper:
        return "a dump may not give membership in roles", None
    kind = upper[upper.index("ON") + 1 :]
    end = len(upper)
    for ending in _ENDINGS:
        if upper[end - len(ending) : end] == ending:
            end -= len(ending)
    if upper[end - 2 : end - 1] == ["GROUP"]:
        return None, _LABEL
    if upper[end - 2] != ("TO" if upper[0] == "GRANT" else "FROM"):
        return "pg_dump names one role in each", None
    if (kind and kind[0] in _NOT_INSIDE) or kind[:3] == ["FOREIGN", "DATA", "WRAPPER"]:
        return None, f"privileges on {kind[0]}"
    if kind[:1] == ["SCHEMA"] and unquoted(tokens[len(upper) - len(kind) + 1]) in rules.existing_schemas:
        return None, "privileges on SCHEMA of one that exists"
    if _is_system(tokens[len(upper) - len(kind) :]):
        return None, "privileges on objects of the system"
    return None, None if _is_kept(tokens[end - 1], rules) else _LABEL


def _is_kept(token: str, rules: Rules) -> bool:
    if token.upper() == "PUBLIC":
        return True
    name = unquoted(token)
    return name in rules.kept_grantees and not name.startswith(_OUR_ROLES)


def _is_system(tokens: Sequence[str]) -> bool:
    """Whether the object is qualified with the catalog's schema."""
    return any(unquoted(name) == "pg_catalog" and after == "." for name, after in pairwise(tokens[:4]))
