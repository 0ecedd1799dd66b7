"""The files behind the local store, with everything that was read kept in memory.

Resources are read once at open; Secrets when they are asked for, so that a password that nobody needs stays
out of memory. Statuses are written within the event loop, which takes a fraction of a millisecond; what
must survive a power failure is written by a thread, because the disk decides how long that takes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from dbtether.api.resource import Key, Resource, Secret
from dbtether.errors import StateError
from dbtether.runtime.events import Event
from dbtether.runtime.local.documents import (
    MalformedDocument,
    read_resource,
    read_secret,
    resource_text,
    secret_text,
)
from dbtether.runtime.local.events import EventFile
from dbtether.runtime.local.files import (
    documents_in,
    folders_in,
    make_folder,
    read_file,
    remove_file,
    write_file,
)
from dbtether.runtime.local.layout import CLUSTER_FOLDER, Layout

T = TypeVar("T")

_WRITING_THREADS = 4


class FileBacking:
    """Records as files in a state directory; `events` is None when it was opened for reading only."""

    def __init__(self, layout: Layout, events: EventFile | None) -> None:
        """Read every resource. Raises StateError naming the file that cannot be read."""
        self._layout = layout
        self._events = events
        self._is_open = events is not None
        # Threads of our own: those of the event loop may all be waiting for the name of a dead server.
        self._threads = ThreadPoolExecutor(_WRITING_THREADS, thread_name_prefix="state")
        self._resources: dict[str, dict[Key, Resource]] = {}
        self._sorted_keys: dict[str, tuple[Key, ...]] = {}
        self._secrets: dict[tuple[str, str], Secret] = {}
        for key, path in _stored_keys(layout):
            resource = _read_resource(key, path)
            if resource is not None:
                self._resources.setdefault(key.kind, {})[key] = resource

    def close(self) -> None:
        """Finish what is being written and refuse every write from now on."""
        self._is_open = False
        self._threads.shutdown()

    async def resource(self, key: Key) -> Resource | None:
        """The resource as it is in memory."""
        return self._resources.get(key.kind, {}).get(key)

    async def resources(self, kind: str) -> tuple[Resource, ...]:
        """All of a kind, sorted by key."""
        found = self._resources.get(kind, {})
        keys = self._sorted_keys.get(kind)
        if keys is None:
            keys = self._sorted_keys[kind] = tuple(sorted(found))
        return tuple(found[key] for key in keys)

    async def put_resource(self, resource: Resource, *, status_only: bool) -> None:
        """Write the file, then the memory."""
        self._check_open()
        path = self._layout.resource(resource.key)
        content = _encoded(resource_text, resource, path)
        if status_only:
            write_file(path, content, durable=False)
        else:
            await self._in_thread(_write_durably, path, content)
        found = self._resources.setdefault(resource.key.kind, {})
        if resource.key not in found:
            self._sorted_keys.pop(resource.key.kind, None)
        found[resource.key] = resource

    async def remove_resource(self, key: Key) -> None:
        """Remove the file, then forget the resource."""
        self._check_open()
        await self._in_thread(remove_file, self._layout.resource(key))
        self._resources[key.kind].pop(key, None)
        self._sorted_keys.pop(key.kind, None)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret, read from its file the first time."""
        secret = self._secrets.get((namespace, name))
        if secret is None:
            secret = _read_secret(namespace, name, self._layout.secret(namespace, name))
            if secret is not None:
                self._secrets[namespace, name] = secret
        return secret

    async def secrets(self) -> tuple[Secret, ...]:
        """All Secrets, sorted by namespace and name."""
        found = [
            await self.secret(folder.name, path.stem)
            for folder in folders_in(self._layout.secrets)
            for path in documents_in(folder)
        ]
        return tuple(secret for secret in found if secret is not None)

    async def put_secret(self, secret: Secret) -> None:
        """Write the file, durably, then the memory."""
        self._check_open()
        path = self._layout.secret(secret.namespace, secret.name)
        content = _encoded(secret_text, secret, path)
        await self._in_thread(_write_durably, path, content)
        self._secrets[secret.namespace, secret.name] = secret

    async def remove_secret(self, namespace: str, name: str) -> None:
        """Remove the file, then forget the Secret."""
        self._check_open()
        await self._in_thread(remove_file, self._layout.secret(namespace, name))
        self._secrets.pop((namespace, name), None)

    def put_event(self, event: Event) -> None:
        """Append the Event to the log."""
        self._check_open()
        if self._events:
            self._events.append(event)

    def remove_events(self, key: Key) -> None:
        """Let the log forget the resource."""
        self._check_open()
        if self._events:
            self._events.append_gone(key)

    async def _in_thread(self, write: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, write, *arguments)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StateError(f"the state directory {self._layout.root} is not open for writing")


def _write_durably(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    write_file(path, content, durable=True)


def _stored_keys(layout: Layout) -> list[tuple[Key, Path]]:
    return [
        (Key(kind.name, "" if folder.name == CLUSTER_FOLDER else folder.name, path.stem), path)
        for kind in folders_in(layout.resources)
        for folder in folders_in(kind)
        for path in documents_in(folder)
    ]


def _read_resource(key: Key, path: Path) -> Resource | None:
    """The resource, or None when its file went away since it was listed."""
    content = read_file(path)
    if content is None:
        return None
    try:
        return read_resource(key, content.decode())
    except (MalformedDocument, UnicodeDecodeError) as error:
        raise StateError(
            f"{path} cannot be read: {_reason(error)}; restore it from a backup, or remove it and apply the "
            f"manifest of {key} again (nothing on the server is lost)"
        ) from None


def _read_secret(namespace: str, name: str, path: Path) -> Secret | None:
    content = read_file(path)
    if content is None:
        return None
    try:
        return read_secret(Key("Secret", namespace, name), content.decode())
    except (MalformedDocument, UnicodeDecodeError) as error:
        # Without the cause: it may hold the content.
        raise StateError(
            f"{path} cannot be read: {_reason(error)}; restore it from a backup, or remove it to have "
            "the password made anew"
        ) from None


def _reason(error: MalformedDocument | UnicodeDecodeError) -> str:
    return str(error) if isinstance(error, MalformedDocument) else "it is not UTF-8"


def _encoded(text_of: Callable[[T], str], record: T, path: Path) -> bytes:
    try:
        return text_of(record).encode()
    except MalformedDocument as error:
        raise StateError(f"{path} cannot be written: {error}") from None
