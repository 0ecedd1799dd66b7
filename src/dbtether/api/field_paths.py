"""Paths of fields and how values are shown in a sentence. Pure, without pydantic."""

import re
from typing import Any

Path = tuple[str | int, ...]

MAX_SHOWN = 60
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SECRET_WORDS = re.compile(r"password|passwd|credential|token|apikey|api_key|private", re.IGNORECASE)
_SECRET_LEAF = re.compile(r"secret|pass|pwd|auth", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"://[^/]*@|password\s*=|BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE)


def path_text(path: Path) -> str:
    """The path as people write it: `spec.databases[0].name`; other keys than plain words in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= MAX_SHOWN:
            text += f".{part}" if text else part
        else:
            text += f"[{_quoted(part)}]"
    return text


def shown(path: Path, value: Any) -> str:
    """The value for a sentence: one line, at most about 60 characters, and never something secret."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if _is_secret(path, value):
        return "the value (not shown)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return _quoted(value) if isinstance(value, str) else f"{value!s:.{MAX_SHOWN}}"


def _is_secret(path: Path, value: Any) -> bool:
    """Whether the value could be a password, put here by mistake.

    Any text under a field that is about passwords or credentials; any value whose own field is; and
    texts that carry a login, such as a connection string.
    """
    words = [part for part in path if isinstance(part, str)]
    leaf = words[-1] if words else ""
    if _SECRET_WORDS.search(leaf) or _SECRET_LEAF.search(leaf):
        return True
    if not isinstance(value, str):
        return False
    return any(_SECRET_WORDS.search(word) for word in words) or _SECRET_TEXT.search(value) is not None


def _quoted(text: str) -> str:
    cut = text[:MAX_SHOWN]
    safe = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut
    )
    escaped = safe.replace('"', '\\"')
    return f'"{escaped}"' + ("..." if len(text) > MAX_SHOWN else "")
