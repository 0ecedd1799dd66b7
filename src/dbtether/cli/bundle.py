"""What goes into a diagnostic bundle, and the guard that no Secret's value is in it. Pure, but for the last step."""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dbtether.api.resource import Resource, Secret
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import document
from dbtether.runtime.events import Event

MASK = "********"

_ARCHIVES = (".tar.gz", ".tgz")
# Shorter ones would mask parts of words; a bundle holds no value of a Secret to begin with.
_SHORTEST_BYTES = 6
_HARMLESS = re.compile(r"(.*_)?(user(name)?|host|port|(db)?name|databases?|sslmode)", re.IGNORECASE)
_TELLING = re.compile(r"pass|token|key|secret|uri|url|credential|\bpw\b", re.IGNORECASE)


def secret_texts(secrets: Iterable[Secret], resources: Iterable[Resource], more: Iterable[str] = ()) -> frozenset[str]:
    """The values that must not be told: all of a Secret's but names, and what the resources themselves name.

    A value under a key that sounds like a password's counts in any case.
    """
    public = {text for resource in resources for text in _strings([resource.spec, resource.status])}
    public |= {part for resource in resources for part in (resource.key.name, resource.key.namespace)}
    found = set(more)
    for secret in secrets:
        for name, value in secret.data.items():
            text = value.decode(errors="replace").strip()
            if _TELLING.search(name) or not (_HARMLESS.fullmatch(name) or text in public):
                found.add(text)
    return frozenset(text for text in found if len(text.encode()) >= _SHORTEST_BYTES)


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without the values, as they are and as JSON writes them; the longest go first."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            text = text.replace(form, MASK)
    return text


def resource_documents(resources: Iterable[Resource]) -> list[dict[str, Any]]:
    """The resources in full, but for the fingerprints of passwords."""
    return [_without_fingerprint(document(resource)) for resource in resources]


def _without_fingerprint(body: dict[str, Any]) -> dict[str, Any]:
    status = body.get("status")
    if isinstance(status, dict) and "passwordFingerprint" in status:
        body["status"] = {**status, "passwordFingerprint": MASK}
    return body


def event_documents(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The Events, each with whom it is about."""
    return [
        {
            "about": str(event.key),
            "type": event.type.value,
            "reason": event.reason,
            "message": event.message,
            "first": event.first.isoformat(),
            "last": event.last.isoformat(),
            "count": event.count,
        }
        for event in events
    ]


def write_bundle(target: Path, files: Mapping[str, Any], secrets: Sequence[str] | frozenset[str]) -> None:
    """Write the values as JSON files, readable by this user alone. Raises Quit when the target is taken."""
    texts = {f"{name}.json": masked(_json(value), secrets).encode() for name, value in files.items()}
    try:
        if target.name.endswith(_ARCHIVES):
            _write(target, _archive(texts, target.name.partition(".")[0]))
        else:
            target.mkdir(mode=0o700, parents=True)
            for name, content in texts.items():
                _write(target / name, content)
    except FileExistsError:
        raise Quit(Exit.INVALID, f"-o {target}: it exists already, and nothing is overwritten") from None


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _archive(texts: Mapping[str, bytes], folder: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in texts.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, int):
        yield str(value)
