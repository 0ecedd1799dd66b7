"""The local store: a state directory that one process writes and anybody of the same user may read."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from dbtether.errors import StateError
from dbtether.runtime.events import EventLog
from dbtether.runtime.local.backing import FileBacking
from dbtether.runtime.local.events import EventFile, load_events
from dbtether.runtime.local.files import (
    check_folder,
    folders_in,
    make_folder,
    make_private,
    sweep,
    write_file,
)
from dbtether.runtime.local.layout import (
    Layout,
    check_installation,
    establish_fingerprint_key,
    establish_installation,
    recorded_fingerprint_key,
    recorded_installation,
)
from dbtether.runtime.local.lock import WriterLock
from dbtether.runtime.records import RecordStore


class StateMissing(StateError):
    """There is no state directory at the path: nothing was ever applied with it."""


class LocalStore(RecordStore):
    """A Store on a state directory; made by `open`, a context manager, closed by `close`."""

    def __init__(
        self,
        backing: FileBacking,
        lock: WriterLock | None,
        *,
        installation: str,
        fingerprint_key: bytes,
        events: EventLog,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(backing, installation=installation, fingerprint_key=fingerprint_key, events=events, now=now)
        self._files = backing
        self._lock = lock

    @classmethod
    def open(
        cls,
        path: Path,
        installation: str | None = None,
        *,
        read_only: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """The store on the directory, which is made if need be and locked unless opened to be read.

        Raises StateMissing when there is nothing to read, StateError when another process writes, when the
        directory is of another installation or user, or when a file in it cannot be read.
        """
        if installation is not None:
            check_installation(installation)
        layout = Layout(path.expanduser().absolute())
        if read_only:
            return cls._open_to_read(layout, installation, now)
        return cls._open_to_write(layout, installation, now)

    @classmethod
    def _open_to_read(cls, layout: Layout, given: str | None, now: Callable[[], datetime]) -> Self:
        try:
            check_folder(layout.root)
        except FileNotFoundError:
            raise StateMissing(f"there is no state directory at {layout.root}; apply a manifest first") from None
        folders_in(layout.root)
        installation = recorded_installation(layout, given)
        key = recorded_fingerprint_key(layout)
        if installation is None or key is None:
            raise StateMissing(f"{layout.root} is not a state directory; apply a manifest first")
        events = EventLog()
        load_events(layout.events, events)
        return cls(
            FileBacking(layout, None),
            None,
            installation=installation,
            fingerprint_key=key,
            events=events,
            now=now,
        )

    @classmethod
    def _open_to_write(cls, layout: Layout, given: str | None, now: Callable[[], datetime]) -> Self:
        make_folder(layout.root)
        check_folder(layout.root)
        folders_in(layout.root)
        if not layout.is_free_or_ours():
            raise StateError(f"{layout.root} holds other files and is not a state directory; choose another --state")
        make_private(layout.root)
        lock = WriterLock.take(layout.lock)
        try:
            sweep(layout.root)
            write_file(layout.gitignore, b"*\n", durable=False)
            # The id comes last: a directory that has one is complete.
            key = establish_fingerprint_key(layout)
            installation = establish_installation(layout, given)
            events = EventLog()
            backing = FileBacking(layout, EventFile(layout.events, events))
        except BaseException:
            lock.release()
            raise
        return cls(backing, lock, installation=installation, fingerprint_key=key, events=events, now=now)

    def close(self) -> None:
        """Refuse further writes and let the next process write; closing twice is no error."""
        self._files.close()
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
