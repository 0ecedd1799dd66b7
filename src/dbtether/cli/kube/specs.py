"""Whether two specs ask for the same: the API server writes defaults into what it keeps."""

from collections.abc import Mapping
from typing import Any

from dbtether.api.kinds import KINDS
from dbtether.api.resource import Key
from dbtether.api.validation import check


def is_same_spec(key: Key, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are valid and equal, defaults filled in."""
    model = KINDS[key.kind].spec
    first, _ = check(model, key, one)
    second, _ = check(model, key, other)
    return first is not None and second is not None and first.model_dump() == second.model_dump()
