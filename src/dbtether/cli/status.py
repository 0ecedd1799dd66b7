"""`dbtether status`: everything that was applied, and what is not as it should be."""

from dbtether.api.kinds import KINDS
from dbtether.api.resource import Resource
from dbtether.cli import running
from dbtether.cli.apply import say_tables
from dbtether.cli.exits import Exit
from dbtether.cli.output import emit, error, item_list, tell
from dbtether.cli.places import Place, opened
from dbtether.cli.settling import Settled, complaint, stuck


def status_command(place: Place, output: str) -> Exit:
    """Print all tables; the exit code tells whether all is Ready."""
    title, resources = running.run(_read(place))
    if output != "table":
        emit(item_list(resources), output)
    else:
        tell(title, style="dim")
        if not resources:
            tell("Nothing is applied.")
        say_tables(resources)
    left = stuck(resources)
    for resource in left:
        error(complaint(resource, Settled()))
    return Exit.FAILED if left else Exit.OK


async def _read(place: Place) -> tuple[str, tuple[Resource, ...]]:
    async with opened(place) as reader:
        lists = [await reader.list(kind) for kind in KINDS]
        return reader.title, tuple(resource for listed in lists for resource in listed)
