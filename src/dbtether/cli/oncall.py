"""The commands of whoever is on call or moves house: diagnose, export, migrate."""

from typing import Annotated

import typer

from dbtether.cli.arguments import (
    OPERATOR_NAMESPACE,
    Context,
    Installation,
    Kube,
    Kubeconfig,
    OperatorNamespace,
    Output,
    State,
    Wait,
    cluster_of,
)


def diagnose(
    state: State = ".dbtether",
    installation: Installation = None,
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    wait: Wait = "30s",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR|FILE.tar.gz", help="Where the bundle is written.")
    ] = None,
) -> None:
    """Write a bundle for a ticket; it holds no password."""
    from dbtether.cli.diagnose import diagnose_command
    from dbtether.cli.options import checked_wait
    from dbtether.cli.places import Place

    place = Place(state, cluster_of(kube, context, kubeconfig, operator_namespace, installation))
    raise typer.Exit(diagnose_command(place, output, checked_wait(wait)))


def export(
    state: State = ".dbtether",
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    apply_: Annotated[bool, typer.Option("--apply", help="Create it in the cluster instead of printing it.")] = False,
) -> None:
    """Hand a state directory to the operator of a cluster."""
    from dbtether.cli.export import export_command

    cluster = cluster_of(kube, context, kubeconfig, operator_namespace)
    raise typer.Exit(export_command(state, cluster, apply=apply_))


def migrate(
    state: State = ".dbtether",
    installation: Installation = None,
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    output: Output = "table",
) -> None:
    """List what the older operator left and who must consent."""
    from dbtether.cli.migrate import migrate_command
    from dbtether.cli.options import checked_output
    from dbtether.cli.places import Place

    place = Place(state, cluster_of(kube, context, kubeconfig, operator_namespace, installation))
    raise typer.Exit(migrate_command(place, checked_output(output)))
