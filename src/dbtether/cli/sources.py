"""The texts that `-f` names: files, folders, and `-` for standard input."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from dbtether.api.yaml_text import MAX_TEXT_BYTES
from dbtether.cli.exits import Exit, Quit

_SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
STDIN_SOURCE = "standard input"


def read_sources(names: Iterable[str]) -> list[tuple[str, bytes]]:
    """Each text with its name, every file once.

    Raises Quit with a line for each name that cannot be read.
    """
    texts: list[tuple[str, bytes]] = []
    problems: list[str] = []
    seen: set[str] = set()
    for name in names:
        try:
            for path in _files(name):
                identity = path if path == STDIN else os.path.realpath(path)
                if identity not in seen:
                    seen.add(identity)
                    texts.append(_read(path))
        except OSError as error:
            problems.append(f"-f {name}: {_reason(error)}")
    if problems:
        raise Quit(Exit.INVALID, *problems)
    return texts


def _files(name: str) -> list[str]:
    if name == STDIN:
        return [name]
    if not Path(name).is_dir():
        return [name]
    found = sorted(_walk(name))
    if not found:
        raise OSError(0, f"the folder holds no {', '.join(_SUFFIXES)} file")
    return found


def _walk(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [
            name for name in folders if not name.startswith(".") and not _is_state_directory(Path(place) / name)
        ]
        found = (Path(place) / name for name in files if name.endswith(_SUFFIXES) and name[0] != ".")
        # A pipe among them would be waited for for ever.
        yield from (str(path) for path in found if path.is_file())


def _is_state_directory(folder: Path) -> bool:
    # What was applied is no manifest: its Secrets hold generated passwords.
    return (folder / "installation").is_file() and (folder / "fingerprint.key").is_file()


def _raise(error: OSError) -> None:
    raise error


def _read(path: str) -> tuple[str, bytes]:
    # One byte more than is allowed, so that the reader of YAML refuses it by name.
    if path == STDIN:
        return STDIN_SOURCE, sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    with Path(path).open("rb") as file:
        return path, file.read(MAX_TEXT_BYTES + 1)


def _reason(error: OSError) -> str:
    known = {FileNotFoundError: "there is no such file or folder", PermissionError: "may not be read"}
    for type_, text in known.items():
        if isinstance(error, type_):
            return text if not error.filename else f"{error.filename}: {text}"
    return error.strerror or "cannot be read"
