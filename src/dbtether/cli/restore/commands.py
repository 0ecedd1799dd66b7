"""The commands below `dbtether restore`; everything heavy is imported by the one that needs it."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dbtether.cli.arguments import Namespace, Output, State, Verbose

_RUN = "run"


class _RunsByDefault(TyperGroup):
    """`dbtether restore my-app-db` is `dbtether restore run my-app-db`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where none of ours stands."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunsByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Put a backup back into a database, and undo that.",
)

DatabaseName = Annotated[str, typer.Argument(metavar="DATABASE", help="The name of a Database resource.")]


@app.command(_RUN)
def run(
    database: DatabaseName,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="latest, the name of a Backup, a dump's file, a folder with backups of the database, or s3://, gs:// "
            "or azure:// with either.",
        ),
    ],
    namespace: Namespace = "default",
    on_conflict: Annotated[
        str,
        typer.Option(
            "--on-conflict",
            metavar="HOW",
            help="Where the database has objects: fail, drop (replace the database, the old one is kept), or overwrite "
            "(replace its objects in one transaction).",
        ),
    ] = "fail",
    keep: Annotated[
        str,
        typer.Option("--keep-replaced-for", metavar="DURATION", help="How long a replaced database is kept."),
    ] = "24h",
    verify_only: Annotated[
        bool,
        typer.Option(
            "--verify-only",
            help="Restore nothing: load the backup into a throwaway database beside it, compare, and drop that.",
        ),
    ] = False,
    wait: Annotated[
        str, typer.Option("--wait", metavar="DURATION", help="How long to wait for it, such as 30m or 8h.")
    ] = "24h",
    state: State = ".dbtether",
    output: Output = "table",
    verbose: Verbose = False,
) -> None:
    """Restore a database now: dbtether restore my-app-db --from latest."""
    from dbtether.cli.options import checked_output, checked_wait
    from dbtether.cli.restore.run import RestoreOptions, restore_command

    options = RestoreOptions(
        database,
        namespace,
        from_,
        on_conflict,
        keep,
        checked_wait(wait),
        state,
        checked_output(output),
        verbose,
        verify_only=verify_only,
    )
    raise typer.Exit(restore_command(options))


@app.command()
def undo(
    database: DatabaseName,
    namespace: Namespace = "default",
    state: State = ".dbtether",
    output: Output = "table",
    verbose: Verbose = False,
) -> None:
    """Put the database back that the last restore with --on-conflict drop has replaced."""
    from dbtether.cli.options import checked_output
    from dbtether.cli.restore.undo import UndoOptions, undo_command

    raise typer.Exit(undo_command(UndoOptions(database, namespace, state, checked_output(output), verbose)))
