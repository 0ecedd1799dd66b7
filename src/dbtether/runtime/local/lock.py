"""One writer per state directory: a lock that the kernel gives back when its holder dies, however it dies."""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

from dbtether.api.times import instant_text
from dbtether.errors import StateError


class WriterLock:
    """The lock of a state directory, held from `take` to `release`."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def take(cls, path: Path) -> "WriterLock":
        """The lock, taken. Raises StateError naming the process that holds it."""
        while True:
            file = _open(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(file, 200, 0).decode(errors="replace")
                os.close(file)
                raise StateError(_in_use(path.parent, holder)) from None
            except OSError as error:
                os.close(file)
                raise StateError(f"{path} cannot be locked: {error.strerror}") from error
            if _is_still_at(path, file):
                break
            # Somebody removed the file between our open and our lock: what we hold guards nothing.
            os.close(file)
        started = instant_text(datetime.now(UTC))
        os.ftruncate(file, 0)
        os.pwrite(file, f"pid: {os.getpid()}\nstarted: {started}\n".encode(), 0)
        return cls(file)

    def release(self) -> None:
        """Give the lock back."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def _open(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {error.strerror}") from error
    os.fchmod(file, 0o600)
    return file


def _is_still_at(path: Path, file: int) -> bool:
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(file))


def _in_use(directory: Path, holder: str) -> str:
    facts = dict(line.partition(": ")[::2] for line in holder.splitlines())
    if not facts.get("pid"):
        return f"the state directory {directory} is in use by another process; wait until it has ended"
    return (
        f"the state directory {directory} is in use by process {facts['pid']} "
        f"since {facts.get('started', 'an unknown time')}; wait until it has ended, or stop it "
        "(dbtether run ends only then)"
    )
