"""The commands by which time passes: a new password now, what is due now, and everything for as long as it runs."""

from typing import Annotated

import typer

from dbtether.cli.arguments import Context, Kube, Kubeconfig, Namespace, State, Verbose, Wait, cluster_of


def rotate(
    name: Annotated[str, typer.Argument(metavar="USER", help="The name of a DatabaseUser.")],
    namespace: Namespace = "default",
    state: State = ".dbtether",
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    wait: Wait = "60s",
    verbose: Verbose = False,
) -> None:
    """Give a user a new password now; with --kube, ask the operator for it."""
    from dbtether.cli.options import checked_wait
    from dbtether.cli.rotate import RotateOptions, rotate_command

    cluster = cluster_of(kube, context, kubeconfig)
    raise typer.Exit(rotate_command(RotateOptions(name, namespace, state, checked_wait(wait), verbose, cluster)))


def tick(state: State = ".dbtether", wait: Wait = "60s", verbose: Verbose = False) -> None:
    """Do what is due in the state, such as a rotation, and end; for cron."""
    from dbtether.cli.options import checked_wait
    from dbtether.cli.timekeeping import TimeOptions, tick_command

    raise typer.Exit(tick_command(TimeOptions(state, checked_wait(wait), verbose)))


def run(state: State = ".dbtether", verbose: Verbose = False) -> None:
    """Keep everything in the state as it should be until Ctrl-C or SIGTERM."""
    from dbtether.cli.timekeeping import TimeOptions, run_command

    raise typer.Exit(run_command(TimeOptions(state, 0.0, verbose)))
