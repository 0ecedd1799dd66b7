"""`dbtether demo`: a PostgreSQL of its own, the README's manifests, and everything that they promise, checked."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbtether.cli import running
from dbtether.cli.demo.stage import Stage
from dbtether.cli.demo.steps import STORY, Scene, Statements
from dbtether.cli.exits import Exit
from dbtether.cli.output import say
from dbtether.embedded import EmbeddedServer


def demo_command() -> Exit:
    """Run the demo. Raises DbtetherError when anything does not come out as promised."""
    folder = Path(tempfile.mkdtemp(prefix="dbtether-demo-"))
    try:
        running.run(_demo(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exit.OK


async def _demo(folder: Path) -> None:
    stage = Stage()
    say("dbtether demo: databases and users from manifests, on a real PostgreSQL of its own", style="bold")
    stage.step("Start a PostgreSQL")
    async with EmbeddedServer.start(folder) as server:
        stage.line(f"it listens on {server.host}:{server.port}; its folder {folder} is removed at the end")
        with _counted() as statements:
            scene = Scene(stage, server, folder, statements)
            for tell_chapter in STORY:
                await tell_chapter(scene)
    say()
    say(f"All {stage.checks} checks passed in {stage.seconds:.1f} s; the PostgreSQL is stopped.", style="bold green")
    say("Next: point a DBCluster at a server of yours; README.md shows how.")


@contextmanager
def _counted() -> Iterator[Statements]:
    statements = Statements()
    audit = logging.getLogger("dbtether.audit")
    audit.addHandler(statements)
    # The demo counts the lines; it does not print them.
    audit.propagate = False
    try:
        yield statements
    finally:
        with contextlib.suppress(ValueError):
            audit.removeHandler(statements)
        audit.propagate = True
