"""The columns of `get`: header, JSON path (also the CRD's), and how a cell is shown. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from dbtether.api.resource import Resource


class ColumnType(StrEnum):
    """The CRD's column types that we use; a date is shown as its age."""

    STRING = "string"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `json_path` starts at the resource, `.spec`, `.status` or `.metadata`."""

    header: str
    json_path: str
    type: ColumnType = ColumnType.STRING


def cell(column: Column, resource: Resource, now: datetime) -> str:
    """The text of one cell; empty when there is no value yet."""
    if column.json_path == ".metadata.creationTimestamp":
        return age(now - resource.created)
    root = {"spec": resource.spec, "status": resource.status}
    value = _at(root, column.json_path.removeprefix(".").split("."))
    if value is None:
        return ""
    if column.type is ColumnType.DATE:
        return _age_of_text(str(value), now)
    return "\\n".join(str(value).splitlines())


def _at(value: Any, names: list[str]) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _age_of_text(text: str, now: datetime) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return age(now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)))


def age(span: timedelta) -> str:
    """A span as kubectl shows it (apimachinery, duration.HumanDuration): two units while they matter."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return "0s" if seconds >= -2 else "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    years = days // 365
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
