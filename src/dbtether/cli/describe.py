"""`dbtether describe`: one resource in full, with its Events."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from dbtether.api.columns import age
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_text
from dbtether.cli import running
from dbtether.cli.exits import Exit
from dbtether.cli.get import key_of, kind_of
from dbtether.cli.output import PHASE_STYLES, document, emit, printable, say, table
from dbtether.cli.places import Place, found, opened
from dbtether.cli.progress import shown_phase
from dbtether.runtime.events import Event
from dbtether.runtime.local.block_yaml import block_yaml


def describe_command(word: str, name: str, namespace: str, place: Place, output: str) -> Exit:
    """Print the resource."""
    resource, events = running.run(_read(place, key_of(kind_of(word), namespace, name)))
    if output != "table":
        emit(document(resource) | {"events": [_event_document(event) for event in events]}, output)
        return Exit.OK
    for line in _lines(resource, events, datetime.now(UTC), is_local=place.cluster is None):
        say(line)
    return Exit.OK


async def _read(place: Place, key: Key) -> tuple[Resource, tuple[Event, ...]]:
    async with opened(place) as reader:
        resource = await found(reader, key)
        return resource, await reader.events(resource)


def _lines(resource: Resource, events: tuple[Event, ...], now: datetime, *, is_local: bool) -> Iterator[Text]:
    phase = shown_phase(resource)
    yield _field("Name", resource.key.name)
    if resource.key.namespace:
        yield _field("Namespace", resource.key.namespace)
    yield _field("Kind", resource.key.kind)
    yield _field("Age", age(now - resource.created))
    yield _field("Phase", phase, PHASE_STYLES.get(phase, ""))
    yield _field("Message", str(resource.status.get("message") or ""))
    for title, values in (("Labels", resource.labels), ("Annotations", resource.annotations)):
        if values:
            yield _field(title, ", ".join(f"{name}={value}" for name, value in sorted(values.items())))
    yield from _credentials(resource, is_local=is_local)
    yield from _block("Spec", resource.spec)
    shown = {name: value for name, value in resource.status.items() if name not in ("phase", "message", "conditions")}
    yield from _block("Status", shown)
    yield from _conditions(resource, now)
    yield from _events(events, now)


def _field(title: str, value: str, style: str = "") -> Text:
    return Text(f"{title}:".ljust(14), style="bold").append(printable(value), style=style or "not bold")


def _credentials(resource: Resource, *, is_local: bool) -> Iterator[Text]:
    secret = resource.status.get("secretName")
    if resource.key.kind == "DatabaseUser" and secret:
        where = "" if resource.key.namespace == "default" else f" -n {resource.key.namespace}"
        if not is_local:
            yield _field("Secret", str(secret))
            return
        yield _field("Secret", f"{secret}  (dbtether credentials {resource.key.name}{where})")


def _block(title: str, values: Mapping[str, Any]) -> Iterator[Text]:
    if values:
        yield Text(f"{title}:", style="bold")
        for line in block_yaml(values).splitlines():
            yield Text(f"  {printable(line)}")


def _conditions(resource: Resource, now: datetime) -> Iterator[Text]:
    conditions = [entry for entry in resource.status.get("conditions") or () if isinstance(entry, dict)]
    if not conditions:
        return
    yield Text("Conditions:", style="bold")
    rows = [
        (
            str(entry.get("type", "")),
            str(entry.get("status", "")),
            str(entry.get("reason", "")),
            _since(str(entry.get("lastTransitionTime", "")), now),
        )
        for entry in conditions
    ]
    yield from table(("TYPE", "STATUS", "REASON", "SINCE"), rows, indent="  ")


def _since(text: str, now: datetime) -> str:
    try:
        return age(now - datetime.fromisoformat(text))
    except ValueError:
        return text


def _events(events: tuple[Event, ...], now: datetime) -> Iterator[Text]:
    yield Text("Events:", style="bold").append("" if events else "       none", style="not bold")
    if events:
        rows = [
            (age(now - event.last), str(event.count), event.type.value, event.reason, event.message) for event in events
        ]
        yield from table(("LAST", "COUNT", "TYPE", "REASON", "MESSAGE"), rows, indent="  ")


def _event_document(event: Event) -> dict[str, Any]:
    return {
        "type": event.type.value,
        "reason": event.reason,
        "message": event.message,
        "firstTimestamp": instant_text(event.first),
        "lastTimestamp": instant_text(event.last),
        "count": event.count,
    }
