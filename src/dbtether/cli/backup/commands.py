"""The commands below `dbtether backup`; everything heavy is imported by the one that needs it."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dbtether.cli.arguments import Namespace, Output, State, Verbose, Yes

_TAKE = "take"


class _TakesByDefault(TyperGroup):
    """`dbtether backup my-app-db` is `dbtether backup take my-app-db`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where none of ours stands."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_TAKE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_TakesByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Take a backup of a database, list those that a store has, and prove them.",
)

_PLACE = "a folder, s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX] or azure://ACCOUNT/CONTAINER[/PREFIX]"
From = Annotated[str, typer.Option("--from", metavar="PLACE", help=f"Where the backups are: {_PLACE}.")]
BackupKey = Annotated[str, typer.Argument(metavar="KEY", help="The key that `dbtether backup list` shows.")]


@app.command(_TAKE)
def take(
    database: Annotated[str, typer.Argument(metavar="DATABASE", help="The name of a Database resource.")],
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help=f"Where it goes: {_PLACE}.")],
    namespace: Namespace = "default",
    filename: Annotated[
        str | None,
        typer.Option(
            "--filename",
            metavar="TEMPLATE",
            help="The object's name; its suffix picks the format: .sql, .sql.gz, .sql.zst or .dump.",
        ),
    ] = None,
    state: State = ".dbtether",
    output: Output = "table",
    verbose: Verbose = False,
) -> None:
    """Back a database up now: dbtether backup my-app-db --to DIR."""
    from dbtether.cli.backup.take import TakeOptions, take_command
    from dbtether.cli.options import checked_output

    options = TakeOptions(database, namespace, to, filename, state, checked_output(output), verbose)
    raise typer.Exit(take_command(options))


@app.command("list")
def list_(
    from_: From,
    database: Annotated[
        str | None, typer.Argument(metavar="[DATABASE]", help="Only those of this database.", show_default=False)
    ] = None,
    state: State = ".dbtether",
    output: Output = "table",
) -> None:
    """List the backups of a store, from the store itself."""
    from dbtether.cli.backup.look import LookOptions, list_command
    from dbtether.cli.options import checked_output

    raise typer.Exit(list_command(LookOptions(from_, state, checked_output(output)), database))


@app.command()
def show(key: BackupKey, from_: From, state: State = ".dbtether", output: Output = "table") -> None:
    """Show what is known of one backup."""
    from dbtether.cli.backup.look import LookOptions, show_command
    from dbtether.cli.options import checked_output

    raise typer.Exit(show_command(LookOptions(from_, state, checked_output(output)), key))


@app.command()
def verify(key: BackupKey, from_: From, state: State = ".dbtether", output: Output = "table") -> None:
    """Read one backup from end to end and compare it with its manifest."""
    from dbtether.cli.backup.look import LookOptions, verify_command
    from dbtether.cli.options import checked_output

    raise typer.Exit(verify_command(LookOptions(from_, state, checked_output(output)), key))


def _keep(option: str, help_: str) -> Any:
    return typer.Option(option, min=0, max=10_000, metavar="N", help=help_)


def retention(
    from_: From,
    database: Annotated[
        str | None, typer.Argument(metavar="[DATABASE]", help="Only those of this database.", show_default=False)
    ] = None,
    keep_last: Annotated[int, _keep("--keep-last", "Keep the newest N.")] = 0,
    keep_daily: Annotated[
        int, _keep("--keep-daily", "Keep the newest of each of the N latest days with a backup.")
    ] = 0,
    keep_weekly: Annotated[int, _keep("--keep-weekly", "The same by ISO weeks.")] = 0,
    keep_monthly: Annotated[int, _keep("--keep-monthly", "The same by months.")] = 0,
    time_zone: Annotated[str, typer.Option("--time-zone", metavar="TZ", help="Whose days, weeks and months.")] = "UTC",
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="NAMESPACE/NAME", help="Those of this BackupSchedule, not those by hand."),
    ] = None,
    any_signature: Annotated[
        bool, typer.Option("--any-signature", help="Also believe manifests that this state's key did not sign.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; delete nothing.")] = False,
    yes: Yes = False,
    state: State = ".dbtether",
    output: Output = "table",
) -> None:
    """Delete the backups of a store that no rule keeps, after showing them."""
    from dbtether.cli.backup.retain import RetentionOptions, checked_policy, retention_command
    from dbtether.cli.options import checked_output

    counts = {
        "keepLast": keep_last,
        "keepDaily": keep_daily,
        "keepWeekly": keep_weekly,
        "keepMonthly": keep_monthly,
    }
    policy = checked_policy(counts, time_zone)
    options = RetentionOptions(
        from_, database, schedule, policy, any_signature, dry_run, yes, state, checked_output(output)
    )
    raise typer.Exit(retention_command(options))
