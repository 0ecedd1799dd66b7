"""Tables of resources, with the columns of `kubectl get`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.text import Text

from dbtether.api.columns import cell
from dbtether.api.kinds import KINDS
from dbtether.api.resource import Resource
from dbtether.cli.output import table


def resource_table(kind: str, resources: Iterable[Resource], *, with_namespace: bool) -> list[Text]:
    """The lines of the table of one kind."""
    known = KINDS[kind]
    show_namespace = with_namespace and known.namespaced
    headers = [*(["NAMESPACE"] if show_namespace else []), "NAME", *(column.header for column in known.columns)]
    now = datetime.now(UTC)
    rows: list[Sequence[str]] = [
        [
            *([resource.key.namespace] if show_namespace else []),
            resource.key.name,
            *(cell(column, resource, now) for column in known.columns),
        ]
        for resource in resources
    ]
    return table(headers, rows)
