"""The words of a statement, as far as the guard needs them. Pure.

They come from the scanner's heads: comments are gone and strings are empty, so that a word is a word of SQL.
"""

import re

_TOKEN = re.compile(
    rb'"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|\'\'|\$\$\$\$|[0-9][0-9A-Za-z.]*|\S', re.DOTALL
)
_FIRST_BYTES = 4096
_SHOWN = 80


def first_words(head: bytes, count: int = 8) -> tuple[str, ...]:
    """The first tokens, keywords in capitals; quoted names stay as they are written."""
    found = []
    for token in _TOKEN.finditer(head[:_FIRST_BYTES]):
        found.append(_word(token[0]))
        if len(found) == count:
            break
    return tuple(found)


def tokens(head: bytes) -> list[str]:
    """All tokens, names as they are written."""
    return [token.decode(errors="replace") for token in _TOKEN.findall(head)]


def unquoted(token: str) -> str:
    """The name that a token says: folded to lower case where it is not quoted."""
    if len(token) > 1 and token.startswith('"'):
        return token[1:-1].replace('""', '"')
    return token.lower()


def shown(head: bytes) -> str:
    """The beginning of a statement, in one line that any terminal can take."""
    text = " ".join("".join(c if c.isprintable() else " " for c in head[:1024].decode(errors="replace")).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _word(token: bytes) -> str:
    text = token.decode(errors="replace")
    return text if text.startswith('"') else text.upper()
