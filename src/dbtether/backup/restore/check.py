"""The first pass: reads the object, proves it, judges its statements, and runs nothing."""

import os
from collections.abc import AsyncIterator, Callable, Mapping

from dbtether.backup.formats import DumpFormat
from dbtether.backup.restore.guard import Guard
from dbtether.backup.restore.job import Expectation
from dbtether.backup.restore.model import Findings, Rules
from dbtether.backup.restore.passing import Pass, PassProgress, pass_through


class _Judge:
    """Lets the guard see each statement."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def statement(self, head: bytes, text: bytes, offset: int) -> None:
        self._guard.judge(head, text, offset)

    def command(self, line: bytes, offset: int) -> None:
        self._guard.command(line, offset)

    def rows(self, data: memoryview) -> None:
        """Data is not judged."""

    def rows_end(self) -> None:
        """Nor its end."""


async def check(
    stream: AsyncIterator[bytes],
    format_: DumpFormat,
    rules: Rules,
    expected: Expectation | None,
    *,
    on_progress: Callable[[PassProgress], None] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> Findings:
    """What is in a stored dump. Raises DumpDamaged, DumpRefused, Blocked, and what the stream raises."""
    guard = Guard(rules)
    order = Pass(format_, expected, _Judge(guard), lambda: None, on_progress, environment, hashes_plain=True)
    passed = await pass_through(stream, order)
    guard.close()
    contents, scanned = passed.contents, passed.scanned
    assert contents.plain_sha256 is not None, "it was asked for"
    return Findings(
        object_bytes=contents.object_bytes,
        object_sha256=contents.object_sha256,
        plain_bytes=contents.plain_bytes,
        plain_sha256=contents.plain_sha256,
        tables=len(scanned.rows),
        rows=passed.rows,
        objects=guard.objects,
        extensions=tuple(guard.extensions),
        schemas=tuple(guard.schemas),
        roles=tuple(guard.roles),
        server_version=scanned.server_version,
        client_version=scanned.client_version,
        left_out=dict(guard.left_out),
    )
