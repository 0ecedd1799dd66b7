"""Turns an archive in pg_dump's custom format into a plain dump: pg_restore as a child that reaches no server."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO

from dbtether.backup.clients import ClientPrograms
from dbtether.backup.scanner import DumpDamaged

_PIECE = 1 << 20
_STDERR_BYTES = 16 * 1024
_COMPLAINT_CHARACTERS = 300


class Archive:
    """A running pg_restore: the archive goes in, plain text comes out. All calls block; none is for two threads."""

    def __init__(self, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
        """Takes what `converting` has started."""
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        self._process, self._errors = process, errors
        self._in, self._out = process.stdin, process.stdout

    def write(self, piece: bytes) -> None:
        """Hand over the next piece; a pg_restore that has ended already takes it and says why at the end."""
        with suppress(BrokenPipeError):
            self._in.write(piece)

    def end(self) -> None:
        """That was all."""
        with suppress(BrokenPipeError):
            self._in.close()

    def read(self) -> bytes:
        """The next piece of plain text; empty at its end."""
        return self._out.read(_PIECE)

    def close(self) -> None:
        """Raise DumpDamaged when pg_restore could not read all of it."""
        if self._process.wait():
            raise DumpDamaged(f"the archive cannot be read: {self._complaint()}")

    def kill(self) -> None:
        """End it where it still runs: a thread that waits for it wakes up then."""
        if self._process.poll() is None:
            self._process.kill()

    def _complaint(self) -> str:
        """The first of its lines, since the others follow from it."""
        self._errors.seek(0)
        text = self._errors.read(_STDERR_BYTES).decode(errors="replace").strip()
        line = next(iter(text.splitlines()), "").removeprefix("pg_restore: ").removeprefix("error: ")
        told = "".join(character if character.isprintable() else " " for character in line)[:_COMPLAINT_CHARACTERS]
        return told or f"pg_restore ended with code {self._process.returncode}"


@contextmanager
def converting(clients: ClientPrograms, environment: Mapping[str, str]) -> Iterator[Archive]:
    """A running pg_restore, which is ended in any case; of the environment it gets PATH alone."""
    variables = {name: environment[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in environment}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [clients.path("pg_restore"), "--file=-", "--no-owner", "--no-tablespaces", "--no-subscriptions"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**variables, "LC_ALL": "C"},
            start_new_session=True,
        )
        archive = Archive(process, errors)
        try:
            yield archive
        finally:
            archive.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
