"""Reads a plain dump while it streams by: its statements, the rows of its COPY data, its footer. Pure.

A dump is cut into statements where psql would cut it (PostgreSQL's source, src/fe_utils/psqlscan.l): quotes,
dollar quotes, comments, parentheses and the bodies of SQL-standard functions are followed. A search for lines
that look like COPY would take the text of a function for data.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from dbtether.errors import DbtetherError

FOOTER = b"PostgreSQL database dump complete"
_COPY_END = b"\n\\.\n"
# A COPY that names 1,600 columns of 63 bytes, all of them to be quoted.
_HEAD_BYTES = 512 * 1024
# pg_dump's longest statements are long comments and views; large objects come in pieces of 16 KiB.
_TEXT_BYTES = 32 * 1024 * 1024
_COMMENT_BYTES = 256
# A dollar quote's tag is an identifier.
_TAG_BYTES = 65

_SPECIAL = re.compile(rb"--|/\*|'|\"|\$|;|\(|\)|\\")
_TAG = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_WORD_END = re.compile(rb"[A-Za-z0-9_$\x80-\xff]\Z")
_ESCAPE_PREFIX = re.compile(rb"(?:\A|[^A-Za-z0-9_$\x80-\xff])[eE]\Z")
_COMMENT_MARK = re.compile(rb"/\*|\*/")
_ESCAPED_QUOTE = re.compile(rb"\\.|'", re.DOTALL)
_TOKEN = re.compile(rb'"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_$]*|[()]')
_ROUTINE = re.compile(rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)
_COPY = re.compile(rb'COPY\s+((?:"(?:[^"]|"")*"|[^\s".(]+)(?:\.(?:"(?:[^"]|"")*"|[^\s".(]+))?)', re.IGNORECASE)
_UNNEEDED_QUOTES = re.compile(rb'(?<![^.])"([a-z_][a-z0-9_]*)"(?![^.])')
_FROM_STDIN = re.compile(rb"\bFROM\s+stdin\b", re.IGNORECASE)
_PLAIN_FROM_STDIN = re.compile(rb"\bFROM\s+stdin\Z", re.IGNORECASE)
_CONFORMING = re.compile(rb"SET\s+standard_conforming_strings\s*(?:=|TO)\s*(on|off)\Z", re.IGNORECASE)
_VERSIONS = {
    "server": re.compile(rb"Dumped from database version (\S+)"),
    "client": re.compile(rb"Dumped by pg_dump version (\S+)"),
}


def table_key(name: bytes) -> str:
    """The name by which the rows of a table are counted: as SQL has it, without quotes that are not needed."""
    return _UNNEEDED_QUOTES.sub(rb"\1", name).decode(errors="replace")


class DumpDamaged(DbtetherError):
    """The dump is cut off, or is no plain dump of PostgreSQL; the message says where and why."""


@dataclass(frozen=True, slots=True)
class ScannedDump:
    """What a complete dump holds."""

    rows: dict[str, int]
    """Rows of each table in the dump's order, by its name, quoted where SQL asks for it."""
    statements: int
    server_version: str | None
    client_version: str | None


class _State(Enum):
    NORMAL = auto()
    QUOTE = auto()
    ESCAPED_QUOTE = auto()
    IDENTIFIER = auto()
    DOLLAR = auto()
    LINE_COMMENT = auto()
    BLOCK_COMMENT = auto()
    COMMAND = auto()
    COPY = auto()


class DumpSink(Protocol):
    """Gets what is in a dump, in its order; what it raises ends the scan. `offset` counts the dump's bytes."""

    def statement(self, head: bytes, text: bytes, offset: int) -> None:
        """A statement: its text as it is, at most 32 MiB, without its semicolon and the comments before it.

        The head is the same with comments left out and the text of strings taken away (`''`, `$$$$`), cut at
        512 KiB: what is in quotes cannot be mistaken for SQL.
        """
        ...

    def command(self, line: bytes, offset: int) -> None:
        """One of psql's own commands, such as `restrict`, without its backslash."""
        ...

    def rows(self, data: memoryview) -> None:
        """The next piece of the data of the COPY statement before; it ends anywhere, and is gone afterwards."""
        ...

    def rows_end(self) -> None:
        """That data is complete."""
        ...


@dataclass(slots=True)
class DumpScanner:
    """Takes a dump in pieces of any size; memory stays bounded."""

    sink: DumpSink | None = None
    _state: _State = _State.NORMAL
    _carry: bytes = b""
    _head: bytearray = field(default_factory=bytearray)
    _last: bytes = b""
    _comment: bytearray = field(default_factory=bytearray)
    _tag: bytes = b""
    _comment_depth: int = 0
    _parentheses: int = 0
    _escapes_by_default: bool = False
    _after_escaped: bool = False
    _text: bytearray = field(default_factory=bytearray)
    _text_from: int = 0
    _row_began: bool = False
    _table: str = ""
    _rows: dict[str, int] = field(default_factory=dict)
    _statements: int = 0
    _offset: int = 0
    _is_complete: bool = False
    _versions: dict[str, str] = field(default_factory=dict)

    @property
    def rows_so_far(self) -> int:
        """The rows of COPY data that went by until now."""
        return sum(self._rows.values())

    @property
    def tables_so_far(self) -> int:
        """The tables whose COPY data began until now."""
        return len(self._rows)

    def feed(self, chunk: bytes) -> None:
        """Take the next piece. Raises DumpDamaged, and what the two functions raise."""
        self._take(self._carry + chunk if self._carry else chunk, is_last=False)

    def close(self) -> ScannedDump:
        """What the dump held. Raises DumpDamaged when it is not complete."""
        self._take(self._carry, is_last=True)
        if self._state is _State.COPY:
            raise DumpDamaged(f"the dump is cut off in the data of table {self._table}, after {self._where()}")
        if self._state is not _State.NORMAL or self._head.strip():
            raise DumpDamaged(f"the dump is cut off inside a statement, after {self._where()}")
        if not self._is_complete:
            raise DumpDamaged(f"the dump ends after {self._where()} without the line `-- {FOOTER.decode()}`")
        return ScannedDump(
            dict(self._rows), self._statements, self._versions.get("server"), self._versions.get("client")
        )

    # -- pieces ---------------------------------------------------------------------------------------

    def _take(self, data: bytes, *, is_last: bool) -> None:
        position = self._text_from = 0
        while position < len(data):
            # Each reader gives the position up to which it understood, the same one when it needs more.
            after = self._read(data, position, is_last=is_last)
            if after == position:
                break
            self._offset += after - position
            position = after
        self._carry = data[position:]
        if self.sink is not None:
            self._text += data[self._text_from : position]
            if len(self._text) > _TEXT_BYTES:
                raise DumpDamaged(f"after {self._where()}: a statement of more than {_TEXT_BYTES >> 20} MiB")

    def _read(self, data: bytes, position: int, *, is_last: bool) -> int:
        match self._state:
            case _State.COPY:
                return self._read_rows(data, position)
            case _State.NORMAL:
                return self._read_sql(data, position, is_last=is_last)
            case _State.QUOTE | _State.IDENTIFIER:
                return self._read_quoted(data, position, is_last=is_last)
            case _State.ESCAPED_QUOTE:
                return self._read_escaped(data, position, is_last=is_last)
            case _State.DOLLAR:
                return self._read_dollar(data, position)
            case _State.BLOCK_COMMENT:
                return self._read_block_comment(data, position)
            case _State.LINE_COMMENT | _State.COMMAND:
                return self._read_line(data, position, is_last=is_last)

    def _where(self) -> str:
        return f"{self._offset:,} bytes"

    # -- COPY data ------------------------------------------------------------------------------------

    def _read_rows(self, data: bytes, position: int) -> int:
        """`position` is at the line break before the next row: each one that is passed has a row behind it."""
        end = data.find(_COPY_END, position)
        if end >= 0:
            self._rows[self._table] += data.count(b"\n", position, end)
            self._state = _State.NORMAL
            self._give_rows(data, position, end + 1)
            if self.sink is not None:
                self.sink.rows_end()
            # The line break stays: what follows begins a line.
            self._text_from = end + len(_COPY_END) - 1
            return self._text_from
        # An end mark may have begun in the last three bytes.
        tail = data.rfind(b"\n", max(position, len(data) - len(_COPY_END) + 1))
        stop = len(data) if tail < 0 else tail
        self._rows[self._table] += data.count(b"\n", position, stop)
        self._give_rows(data, position, stop)
        self._text_from = stop
        return stop

    def _give_rows(self, data: bytes, start: int, stop: int) -> None:
        """The line break before the first row is not one of its own."""
        if self.sink is None or start >= stop:
            return
        first = start if self._row_began else start + 1
        self._row_began = True
        if first < stop:
            self.sink.rows(memoryview(data)[first:stop])

    def _begin_rows(self, head: bytes) -> None:
        name = _COPY.match(head)
        if name is None or not _PLAIN_FROM_STDIN.search(head):
            raise DumpDamaged(
                f"after {self._where()}: a COPY FROM stdin in a form that pg_dump does not write: {_short(head)}"
            )
        self._table = table_key(name[1])
        self._rows.setdefault(self._table, 0)
        self._row_began = False
        self._state = _State.COPY

    # -- SQL ------------------------------------------------------------------------------------------

    def _read_sql(self, data: bytes, position: int, *, is_last: bool) -> int:
        found = _SPECIAL.search(data, position)
        if found is None:
            # The mark of a comment may go on in the next piece.
            stop = len(data) - (data.endswith((b"-", b"/")) and not is_last)
            self._add(data[position:stop])
            return stop
        start, mark = found.start(), found[0]
        self._add(data[position:start])
        if mark == b"$" and not is_last and len(data) - start < _TAG_BYTES and b"$" not in data[start + 1 :]:
            return start
        match mark:
            case b"--":
                self._comment.clear()
                self._state = _State.LINE_COMMENT
            case b"/*":
                self._comment_depth = 1
                self._state = _State.BLOCK_COMMENT
            case b"'":
                is_escaped = (
                    self._escapes_by_default or self._after_escaped or _ESCAPE_PREFIX.search(self._last) is not None
                )
                self._state = _State.ESCAPED_QUOTE if is_escaped else _State.QUOTE
            case b'"':
                self._add(mark)
                self._state = _State.IDENTIFIER
            case b"$":
                return self._begin_dollar(data, start)
            case b"\\":
                return self._begin_command(start)
            case b"(" | b")":
                self._add(mark)
                self._parentheses = max(0, self._parentheses + (1 if mark == b"(" else -1))
            case _:
                return self._end_statement(data, start, is_last=is_last)
        return found.end()

    def _add(self, text: bytes) -> None:
        if not self._head:
            text = text.lstrip()
        if self._after_escaped and not text.isspace():
            self._after_escaped = not text
        self._head += text[: max(0, _HEAD_BYTES - len(self._head))]
        self._last = (self._last + text[-2:])[-2:]

    def _begin_dollar(self, data: bytes, start: int) -> int:
        tag = _TAG.match(data, start)
        if tag is None or _WORD_END.search(self._last):
            # A parameter such as $1, or a dollar within a name.
            self._add(b"$")
            return start + 1
        self._tag = tag[0]
        self._state = _State.DOLLAR
        return tag.end()

    def _begin_command(self, start: int) -> int:
        if self._head.strip():
            raise DumpDamaged(f"after {self._where()}: a backslash inside a statement: {_short(bytes(self._head))}")
        self._comment.clear()
        self._state = _State.COMMAND
        return start + 1

    def _end_statement(self, data: bytes, start: int, *, is_last: bool) -> int:
        if self._parentheses or (_ROUTINE.match(self._head) and _body_is_open(bytes(self._head))):
            self._add(b";")
            return start + 1
        head = bytes(self._head).strip()
        takes_data = head[:4].upper() == b"COPY" and _FROM_STDIN.search(head) is not None
        if takes_data and start + 1 == len(data) and not is_last:
            # Whether the data follows on the next line shows with the next piece.
            return start
        self._head.clear()
        text = (bytes(self._text) + data[self._text_from : start]).strip() if self.sink is not None else b""
        self._forget_text(start + 1)
        if not head:
            return start + 1
        if self._is_complete:
            raise DumpDamaged(f"after {self._where()}: a statement after the footer: {_short(head)}")
        self._statements += 1
        if self.sink is not None:
            self.sink.statement(head, text, self._offset)
        if conforming := _CONFORMING.match(head):
            self._escapes_by_default = conforming[1].lower() == b"off"
        if takes_data:
            if data[start + 1 : start + 2] != b"\n":
                raise DumpDamaged(f"after {self._where()}: no data on the line after {_short(head)}")
            self._begin_rows(head)
        return start + 1

    def _forget_text(self, position: int) -> None:
        """What was before this position is not of the next statement."""
        self._text.clear()
        self._text_from = position

    # -- what is not SQL ------------------------------------------------------------------------------

    def _read_quoted(self, data: bytes, position: int, *, is_last: bool) -> int:
        is_name = self._state is _State.IDENTIFIER
        mark = b'"' if is_name else b"'"
        end = data.find(mark, position)
        if end < 0:
            self._add(data[position:] if is_name else b"")
            return len(data)
        if end + 1 == len(data) and not is_last:
            self._add(data[position:end] if is_name else b"")
            return end
        is_doubled = data[end + 1 : end + 2] == mark
        stop = end + 2 if is_doubled else end + 1
        if is_name:
            self._add(data[position:stop])
        if not is_doubled:
            self._state = _State.NORMAL
            self._add(b"" if is_name else b"''")
        return stop

    def _read_escaped(self, data: bytes, position: int, *, is_last: bool) -> int:
        found = _ESCAPED_QUOTE.search(data, position)
        if found is None:
            # A backslash at the very end takes the next byte with it.
            return len(data) - (data.endswith(b"\\") and not is_last)
        if found[0] != b"'":
            return found.end()
        if found.end() == len(data) and not is_last:
            return found.start()
        if data[found.end() : found.end() + 1] == b"'":
            return found.end() + 1
        self._state = _State.NORMAL
        self._add(b"''")
        # A string that goes on after a line break (SQL's rule) goes on with escapes.
        self._after_escaped = True
        return found.end()

    def _read_dollar(self, data: bytes, position: int) -> int:
        end = data.find(self._tag, position)
        if end >= 0:
            self._state = _State.NORMAL
            self._add(b"$$$$")
            return end + len(self._tag)
        return max(position, len(data) - len(self._tag) + 1)

    def _read_block_comment(self, data: bytes, position: int) -> int:
        found = _COMMENT_MARK.search(data, position)
        if found is None:
            return max(position, len(data) - 1)
        self._comment_depth += 1 if found[0] == b"/*" else -1
        if not self._comment_depth:
            self._state = _State.NORMAL
            self._add(b" ")
            if not self._head:
                self._forget_text(found.end())
        return found.end()

    def _read_line(self, data: bytes, position: int, *, is_last: bool) -> int:
        end = data.find(b"\n", position)
        stop = len(data) if end < 0 else end + 1
        self._comment += data[position : min(stop, position + _COMMENT_BYTES)]
        if end >= 0 or is_last:
            was, self._state = self._state, _State.NORMAL
            if not self._head.strip():
                self._forget_text(stop)
            self._take_line(bytes(self._comment[:_COMMENT_BYTES]).strip(), is_command=was is _State.COMMAND)
        return stop

    def _take_line(self, line: bytes, *, is_command: bool) -> None:
        if is_command:
            if self.sink is not None:
                self.sink.command(line, self._offset)
            return
        self._add(b" ")
        if line == FOOTER:
            self._is_complete = True
        for name, pattern in _VERSIONS.items():
            if name not in self._versions and (found := pattern.match(line)):
                self._versions[name] = found[1].decode(errors="replace")


def _body_is_open(head: bytes) -> bool:
    """Whether a routine's BEGIN ATOMIC has not met its END: its semicolons end no statement."""
    depth = parentheses = 0
    for token in _TOKEN.findall(head):
        word = token.upper()
        if word in (b"(", b")"):
            parentheses += 1 if word == b"(" else -1
        elif parentheses:
            continue
        elif word == b"BEGIN" or (word == b"CASE" and depth):
            depth += 1
        elif word == b"END" and depth:
            depth -= 1
    return depth > 0


def _short(head: bytes) -> str:
    text = " ".join(head.decode(errors="replace").split())
    return text if len(text) <= 80 else f"{text[:79]}…"
