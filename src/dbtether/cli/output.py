"""What the program prints: answers on stdout, messages on stderr, colours on a terminal only.

Text from servers and manifests is shown without control characters, so that no name can move the cursor.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from dbtether.api.resource import Resource
from dbtether.api.times import instant_text

PHASE_STYLES: Mapping[str, str] = {
    "Ready": "green",
    "Connected": "green",
    "Completed": "green",
    "Active": "green",
    "Failed": "bold red",
    "Waiting": "yellow",
    "Pending": "yellow",
    "Creating": "cyan",
    "Deleting": "magenta",
    "deleted": "dim",
}


def printable(text: str) -> str:
    """The text in one line, without control characters."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.splitlines()))


@cache
def out() -> Console:
    """Where answers go."""
    return _console(sys.stdout)


@cache
def err() -> Console:
    """Where messages go."""
    return _console(sys.stderr)


def _console(file: IO[str]) -> Console:
    # soft_wrap at each print: a pipe must get whole lines, whatever width rich would guess for it.
    return Console(file=file, highlight=False, markup=False, emoji=False)


def say(text: str | Text = "", style: str | None = None) -> None:
    """Print a line of an answer."""
    out().print(text, style=style, soft_wrap=True)


def tell(text: str | Text = "", style: str | None = None) -> None:
    """Print a message for people."""
    err().print(text, style=style, soft_wrap=True)


def error(message: str) -> None:
    """Print what went wrong."""
    tell(Text("error: ", style="bold red").append(printable(message), style="default not bold"))


def note(message: str) -> None:
    """Print what a person should know."""
    tell(Text("note: ", style="yellow").append(printable(message), style="default"))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> list[Text]:
    """Lines as kubectl aligns them: three blanks between columns, no rules; a phase in its colour."""
    clean = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in [list(headers), *clean]) for index in range(len(headers))]
    lines = [_line(headers, widths, indent, header=True)]
    lines += [_line(row, widths, indent, header=False) for row in clean]
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], indent: str, *, header: bool) -> Text:
    line = Text(indent)
    for index, cell in enumerate(cells):
        last = index == len(cells) - 1
        style = "bold" if header else PHASE_STYLES.get(cell, "")
        line.append(cell, style=style)
        if not last:
            line.append(" " * (widths[index] + 3 - len(cell)))
    line.rstrip()
    return line


def document(resource: Resource) -> dict[str, Any]:
    """The resource as Kubernetes shows it."""
    metadata: dict[str, Any] = {"name": resource.key.name}
    if resource.key.namespace:
        metadata["namespace"] = resource.key.namespace
    metadata |= {
        "uid": resource.uid,
        "generation": resource.generation,
        "resourceVersion": resource.resource_version,
        "creationTimestamp": instant_text(resource.created),
    }
    if resource.deleted is not None:
        metadata["deletionTimestamp"] = instant_text(resource.deleted)
    if resource.finalizers:
        metadata["finalizers"] = list(resource.finalizers)
    for name, values in (("labels", resource.labels), ("annotations", resource.annotations)):
        if values:
            metadata[name] = dict(values)
    body = {"apiVersion": "dbtether.io/v1alpha1", "kind": resource.key.kind, "metadata": metadata}
    body["spec"] = dict(resource.spec)
    if resource.status:
        body["status"] = dict(resource.status)
    return body


def item_list(resources: Iterable[Resource]) -> dict[str, Any]:
    """The resources as kubectl's List."""
    return {"apiVersion": "v1", "kind": "List", "items": [document(resource) for resource in resources]}


def emit(value: Mapping[str, Any], format_: str) -> None:
    """Print a value for machines, as `json` or `yaml`, with nothing around it."""
    if format_ == "json":
        import json

        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    else:
        from dbtether.runtime.local.block_yaml import block_yaml

        text = block_yaml(value)
    sys.stdout.write(text)
