"""The hidden commands below `dbtether job`; everything heavy is imported by the one that needs it."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What dbtether's own jobs run.")


@app.callback()
def jobs() -> None:
    """What dbtether's own jobs run."""


@app.command()
def backup(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of the job's files.")],
    result: Annotated[str, typer.Option("--result", metavar="FILE", help="Where the result goes.")],
) -> None:
    """Take the backup that a folder's files describe."""
    from dbtether.cli.job.backup import backup_command

    raise typer.Exit(backup_command(folder, result))


@app.command("restore-check")
def restore_check(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of the job's files.")],
    result: Annotated[str, typer.Option("--result", metavar="FILE", help="Where the result goes.")],
) -> None:
    """Read the dump that a folder's files name, and tell what is in it; no database is asked."""
    from dbtether.cli.job.restore import check_command

    raise typer.Exit(check_command(folder, result))


@app.command()
def restore(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of the job's files.")],
    result: Annotated[str, typer.Option("--result", metavar="FILE", help="Where the result goes.")],
) -> None:
    """Load the dump that a folder's files name."""
    from dbtether.cli.job.restore import restore_command

    raise typer.Exit(restore_command(folder, result))
