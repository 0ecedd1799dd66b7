"""Files of the state directory: whole or absent, private, never through a symbolic link.

A file is written beside its place and renamed into it, so a reader sees the old or the new one, and a kill
at any point leaves at most a temporary file, which the next open sweeps.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from dbtether.errors import StateError

TEMPORARY_PREFIX = ".tmp-"

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_numbers = count()


def write_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Replace the file in one step; durable means that it survives a power failure too."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{next(_numbers)}")
    with _explained(path):
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE)
        try:
            try:
                # The umask may have taken bits away.
                os.fchmod(file, _FILE_MODE)
                _write_all(file, content)
                if durable:
                    os.fsync(file)
            finally:
                os.close(file)
            temporary.rename(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            _sync_folder(path.parent)


def append_to_file(path: Path, content: bytes) -> None:
    """Add to the end of the file, which is made if need be; not durable, and not in one step."""
    with _explained(path):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, _FILE_MODE)
        try:
            os.fchmod(file, _FILE_MODE)
            _write_all(file, content)
        finally:
            os.close(file)


def remove_file(path: Path) -> None:
    """Remove the file, durably; one that is gone already is no error."""
    with _explained(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        _sync_folder(path.parent)


def read_file(path: Path) -> bytes | None:
    """The content, or None when there is no file. Raises StateError when it is not a file of ours."""
    try:
        with _explained(path):
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                _check_is_ours(path, os.fstat(file), "file")
                return _read_all(file)
            finally:
                os.close(file)
    except FileNotFoundError:
        return None


def make_folder(path: Path) -> None:
    """Make the folder and those above it that are missing, for this user alone."""
    with _explained(path):
        missing: list[Path] = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            folder.chmod(_FOLDER_MODE)
            _sync_folder(folder.parent)


def folders_in(path: Path) -> list[Path]:
    """The folders in a folder, sorted. Raises StateError for a symbolic link."""
    return sorted(_entries(path, "folder"))


def documents_in(path: Path) -> list[Path]:
    """The YAML files in a folder, sorted; their content is not looked at."""
    return sorted(entry for entry in _entries(path, "file") if entry.suffix == ".yaml")


def sweep(path: Path) -> None:
    """Remove the temporary files that a killed process left anywhere below the folder."""
    with _explained(path):
        for folder, _, names in os.walk(path):
            for name in names:
                if name.startswith(TEMPORARY_PREFIX):
                    Path(folder, name).unlink(missing_ok=True)


def check_folder(path: Path) -> None:
    """Raises StateError when it is not a folder of this user, FileNotFoundError when there is none."""
    with _explained(path):
        _check_is_ours(path, path.stat(), "folder")


def make_private(path: Path) -> None:
    """Take everybody else's access to the folder away."""
    with _explained(path):
        if stat.S_IMODE(path.stat().st_mode) != _FOLDER_MODE:
            path.chmod(_FOLDER_MODE)


def _entries(path: Path, wanted: str) -> Iterator[Path]:
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    for entry in entries:
        if entry.is_symlink():
            raise StateError(f"{entry.path} is a symbolic link, which may lead anywhere; remove it")
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder == (wanted == "folder") and not entry.name.startswith("."):
            yield Path(entry.path)


def _check_is_ours(path: Path, status: os.stat_result, wanted: str) -> None:
    is_wanted = stat.S_ISDIR if wanted == "folder" else stat.S_ISREG
    if not is_wanted(status.st_mode):
        raise StateError(f"{path} is not a {wanted}; remove it")
    if status.st_uid != os.geteuid():
        raise StateError(
            f"{path} belongs to another user (uid {status.st_uid}); run as that user or choose another --state"
        )


def _write_all(file: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(file, content[written:])


def _read_all(file: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(file, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the system refuses into a StateError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        with suppress(OSError):
            if path.is_symlink():
                raise StateError(f"{path} is a symbolic link, which may lead anywhere; remove it") from error
        raise StateError(f"{path}: {error.strerror}") from error
