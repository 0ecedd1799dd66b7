"""`dbtether status`: everything that was applied, and what is not as it should be."""

from pathlib import Path

from dbtether.api.resource import Resource
from dbtether.cli import running
from dbtether.cli.apply import say_tables
from dbtether.cli.exits import Exit
from dbtether.cli.output import emit, error, item_list, tell
from dbtether.cli.settling import Settled, complaint, is_paused, is_ready
from dbtether.cli.wanted import everything
from dbtether.runtime.local import LocalStore


def status_command(state: str, output: str) -> Exit:
    """Print all tables; the exit code tells whether all is Ready."""
    installation, resources = running.run(_read(state))
    if output != "table":
        emit(item_list(resources), output)
    else:
        tell(f"Installation {installation}, state in {state}", style="dim")
        if not resources:
            tell("Nothing is applied.")
        say_tables(resources)
    stuck = [resource for resource in resources if not is_ready(resource) and not is_paused(resource)]
    for resource in stuck:
        error(complaint(resource, Settled()))
    return Exit.FAILED if stuck else Exit.OK


async def _read(state: str) -> tuple[str, tuple[Resource, ...]]:
    with LocalStore.open(Path(state), read_only=True) as store:
        return store.installation, await everything(store)
