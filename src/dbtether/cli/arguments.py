"""The options and arguments that several commands have."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dbtether.cli.places import Cluster, Place

Files = Annotated[
    list[str],
    typer.Option("--filename", "-f", metavar="FILE", help="A manifest, a folder of them, or - for standard input."),
]
OptionalFiles = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", metavar="FILE", help="A manifest, a folder of them, or - for standard input."),
]
State = Annotated[
    str,
    typer.Option("--state", metavar="DIR", envvar="DBTETHER_STATE", help="The state directory."),
]
Installation = Annotated[
    str | None,
    typer.Option(
        "--installation",
        metavar="NAME",
        envvar="DBTETHER_INSTALLATION",
        help="Who marks the objects on the servers; made up at the first apply, then kept in the state.",
    ),
]
Namespace = Annotated[
    str,
    typer.Option("--namespace", "-n", metavar="NAME", help="The namespace of what names none."),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FORMAT", help="table, json or yaml."),
]
Wait = Annotated[
    str,
    typer.Option("--wait", metavar="DURATION", help="How long to wait until everything is settled, such as 30s or 5m."),
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Also delete what was applied before and stands in no given manifest any more."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print a line to stderr for each statement that was run.")
]
KindWord = Annotated[
    str,
    typer.Argument(metavar="KIND", help="dbclusters, databases, databaseusers, backupstorages (or dbc, db, dbu, bs)."),
]
Kube = Annotated[bool, typer.Option("--kube", help="Read a Kubernetes cluster instead of a state directory.")]
Context = Annotated[str | None, typer.Option("--context", metavar="NAME", help="With --kube: a context of it.")]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", metavar="FILE", help="With --kube: the kubeconfig to use.")
]
OperatorNamespace = Annotated[
    str,
    typer.Option(
        "--operator-namespace",
        metavar="NAME",
        envvar="DBTETHER_OPERATOR_NAMESPACE",
        help="With --kube: where the operator runs.",
    ),
]
OPERATOR_NAMESPACE = "postgres-operator-system"


def place_of(state: str, kube: bool, context: str | None, kubeconfig: str | None) -> "Place":
    """Where a command reads. Raises Quit for options that do not go together."""
    from dbtether.cli.places import Place

    return Place(state, cluster_of(kube, context, kubeconfig))


def cluster_of(
    kube: bool,
    context: str | None,
    kubeconfig: str | None,
    operator_namespace: str = OPERATOR_NAMESPACE,
    installation: str | None = None,
) -> "Cluster | None":
    """The cluster that is asked for. Raises Quit for options that do not go together."""
    from dbtether.cli.exits import Exit, Quit
    from dbtether.cli.places import Cluster

    if not kube:
        if context is not None or kubeconfig is not None:
            raise Quit(Exit.INVALID, "--context and --kubeconfig go with --kube")
        return None
    return Cluster(context, kubeconfig, operator_namespace, installation)
