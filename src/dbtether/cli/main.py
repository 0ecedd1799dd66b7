"""The program `dbtether`: its commands and options. Everything heavy is imported by the command that needs it."""

import os
import sys
from typing import Annotated, Any

import typer

from dbtether import __version__
from dbtether.cli.arguments import (
    OPERATOR_NAMESPACE,
    Context,
    Files,
    Installation,
    KindWord,
    Kube,
    Kubeconfig,
    Namespace,
    OperatorNamespace,
    OptionalFiles,
    Output,
    Prune,
    State,
    Verbose,
    Wait,
    Yes,
    cluster_of,
    place_of,
)
from dbtether.cli.backup.commands import app as backup
from dbtether.cli.backup.commands import retention
from dbtether.cli.clock import rotate, run, tick
from dbtether.cli.exits import Exit, epilog
from dbtether.cli.job.commands import app as job
from dbtether.cli.oncall import diagnose, export, migrate
from dbtether.cli.restore.commands import app as restore

app = typer.Typer(
    name="dbtether",
    help="PostgreSQL databases and users, declared as Kubernetes resources and kept on your own servers.",
    epilog=epilog(),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dbtether {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """PostgreSQL databases and users, declared as Kubernetes resources and kept on your own servers."""
    del version


@app.command()
def apply(
    filename: Files,
    state: State = ".dbtether",
    installation: Installation = None,
    namespace: Namespace = "default",
    wait: Wait = "60s",
    prune: Prune = False,
    yes: Yes = False,
    output: Output = "table",
    verbose: Verbose = False,
) -> None:
    """Bring the servers to what the manifests say."""
    from dbtether.cli.apply import ApplyOptions, apply_command
    from dbtether.cli.options import checked_output, checked_wait

    options = ApplyOptions(
        files=tuple(filename),
        state=state,
        installation=installation,
        namespace=namespace,
        wait_seconds=checked_wait(wait),
        prune=prune,
        yes=yes,
        output=checked_output(output),
        verbose=verbose,
    )
    raise typer.Exit(apply_command(options))


@app.command()
def plan(
    filename: OptionalFiles = None,
    state: State = ".dbtether",
    installation: Installation = None,
    namespace: Namespace = "default",
    wait: Wait = "60s",
    prune: Prune = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print a psql script, secrets masked.")] = False,
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    output: Output = "table",
) -> None:
    """Show every statement that would run; change nothing."""
    from dbtether.cli.options import checked_output, checked_wait
    from dbtether.cli.plan import PlanOptions, plan_command

    options = PlanOptions(
        files=tuple(filename or ()),
        state=state,
        installation=installation,
        namespace=namespace,
        wait_seconds=checked_wait(wait),
        prune=prune,
        sql=sql,
        output=checked_output(output),
        cluster=cluster_of(kube, context, kubeconfig, operator_namespace, installation),
    )
    raise typer.Exit(plan_command(options))


@app.command()
def delete(
    target: Annotated[list[str] | None, typer.Argument(metavar="KIND NAME...")] = None,
    filename: OptionalFiles = None,
    state: State = ".dbtether",
    installation: Installation = None,
    namespace: Namespace = "default",
    wait: Wait = "60s",
    verbose: Verbose = False,
) -> None:
    """Delete resources; deletionPolicy tells what goes on the server."""
    from dbtether.cli.delete import DeleteOptions, delete_command
    from dbtether.cli.options import checked_wait

    options = DeleteOptions(
        target=tuple(target or ()),
        files=tuple(filename or ()),
        state=state,
        installation=installation,
        namespace=namespace,
        wait_seconds=checked_wait(wait),
        verbose=verbose,
    )
    raise typer.Exit(delete_command(options))


@app.command()
def get(
    kind: KindWord,
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    namespace: Namespace = "default",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    state: State = ".dbtether",
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = "table",
) -> None:
    """List resources of a kind, or show one."""
    from dbtether.cli.get import get_command
    from dbtether.cli.options import checked_output

    place = place_of(state, kube, context, kubeconfig)
    raise typer.Exit(get_command(kind, name, namespace, all_namespaces, place, checked_output(output)))


@app.command()
def describe(
    kind: KindWord,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    namespace: Namespace = "default",
    state: State = ".dbtether",
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = "table",
) -> None:
    """Show a resource in full: spec, status, conditions, Events."""
    from dbtether.cli.describe import describe_command
    from dbtether.cli.options import checked_output

    place = place_of(state, kube, context, kubeconfig)
    raise typer.Exit(describe_command(kind, name, namespace, place, checked_output(output)))


@app.command()
def credentials(
    name: Annotated[str, typer.Argument(metavar="USER", help="The name of a DatabaseUser.")],
    namespace: Namespace = "default",
    key: Annotated[
        str | None, typer.Option("--key", "-k", metavar="KEY", help="Print this value alone, such as password.")
    ] = None,
    state: State = ".dbtether",
    output: Output = "table",
) -> None:
    """Show how a user logs in; the password only with --key, or -o json or yaml."""
    from dbtether.cli.credentials import credentials_command
    from dbtether.cli.options import checked_output

    raise typer.Exit(credentials_command(name, namespace, key, state, checked_output(output)))


@app.command()
def status(
    state: State = ".dbtether",
    kube: Kube = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = "table",
) -> None:
    """Show everything that was applied, at a glance."""
    from dbtether.cli.options import checked_output
    from dbtether.cli.status import status_command

    raise typer.Exit(status_command(place_of(state, kube, context, kubeconfig), checked_output(output)))


@app.command("import")
def import_(
    filename: OptionalFiles = None,
    state: State = ".dbtether",
    installation: Installation = None,
    namespace: Namespace = "default",
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="NAME", help="The DBCluster to read; all when left out.")
    ] = None,
    output: Output = "table",
) -> None:
    """Rebuild a lost state directory from the servers."""
    from dbtether.cli.importing import ImportOptions, import_command
    from dbtether.cli.options import checked_output

    options = ImportOptions(
        files=tuple(filename or ()),
        state=state,
        installation=installation,
        namespace=namespace,
        cluster=cluster,
        output=checked_output(output),
    )
    raise typer.Exit(import_command(options))


app.add_typer(backup, name="backup")
app.add_typer(restore, name="restore")
app.command()(retention)
app.command()(rotate)
app.command()(tick)
app.command()(run)
app.add_typer(job, name="job", hidden=True)
app.command()(diagnose)
app.command()(export)
app.command()(migrate)


@app.command()
def demo() -> None:
    """See dbtether at work on a PostgreSQL of its own."""
    from dbtether.cli.demo import demo_command

    raise typer.Exit(demo_command())


@app.command()
def operator(
    kubeconfig: Annotated[
        str | None, typer.Option("--kubeconfig", metavar="FILE", help="Outside a cluster: the kubeconfig to use.")
    ] = None,
    context: Annotated[str | None, typer.Option("--context", metavar="NAME", help="A context of it.")] = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="The operator's own namespace; a Pod knows it."),
    ] = None,
    installation: Installation = None,
    watch_namespaces: Annotated[
        str, typer.Option("--watch-namespaces", metavar="NAMES", help="Separated by commas; all when left out.")
    ] = "",
    credentials_namespaces: Annotated[
        str,
        typer.Option("--credentials-namespaces", metavar="NAMES", help="Whose Secrets may be named, besides its own."),
    ] = "",
    credentials_env: Annotated[
        str,
        typer.Option("--credentials-env", metavar="NAMES", help="Variables that credentialsFromEnv may name."),
    ] = "",
    local_storage_root: Annotated[
        str | None,
        typer.Option("--local-storage-root", metavar="DIR", help="The folder that BackupStorages with local may use."),
    ] = None,
    job_template: Annotated[
        str | None,
        typer.Option("--job-template", metavar="JSON", help="A PodTemplateSpec: what the Pods of Jobs are made from."),
    ] = None,
    max_concurrent_backups: Annotated[
        int, typer.Option("--max-concurrent-backups", min=1, max=100, help="How many of one DBCluster run at once.")
    ] = 3,
    leader_elect: Annotated[
        bool, typer.Option("--leader-elect/--no-leader-elect", help="Of several replicas, let one work.")
    ] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing on any server; report it.")] = False,
    metrics_address: Annotated[str, typer.Option("--metrics-address", metavar="ADDRESS")] = ":8080",
    health_address: Annotated[str, typer.Option("--health-address", metavar="ADDRESS")] = ":8081",
    webhook_address: Annotated[
        str, typer.Option("--webhook-address", metavar="ADDRESS", help="Where the webhook listens; off when left out.")
    ] = "",
    webhook_certificate: Annotated[
        str | None,
        typer.Option("--webhook-certificate", metavar="DIR", help="tls.crt and tls.key; our own when left out."),
    ] = None,
    webhook_service: Annotated[
        str, typer.Option("--webhook-service", metavar="NAME", help="The Service that our own certificate is for.")
    ] = "dbtether-webhook",
    webhook_configuration: Annotated[
        str,
        typer.Option(
            "--webhook-configuration", metavar="NAME", help="The ValidatingWebhookConfiguration that learns our CA."
        ),
    ] = "dbtether",
    workers: Annotated[int, typer.Option("--workers", min=1, max=1000)] = 64,
    resync_seconds: Annotated[
        float, typer.Option("--resync-seconds", min=1, help="How often everything is compared with the servers.")
    ] = 600.0,
    log_level: Annotated[str, typer.Option("--log-level", metavar="LEVEL")] = "info",
) -> int:
    """Run as a Kubernetes operator."""
    try:
        from dbtether.cli.operator import Options, operate
    except ModuleNotFoundError as error:
        from dbtether.cli.exits import Quit

        message = f"the operator's libraries are not installed ({error.name}): pip install 'dbtether[operator]'"
        raise Quit(Exit.FAILED, message) from None
    return operate(
        Options(
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
            installation=installation,
            watch_namespaces=_names(watch_namespaces),
            credentials_namespaces=_names(credentials_namespaces),
            credentials_env=_names(credentials_env),
            local_storage_root=local_storage_root,
            job_template=job_template,
            max_concurrent_backups=max_concurrent_backups,
            leader_elect=leader_elect,
            read_only=read_only,
            metrics_address=metrics_address,
            health_address=health_address,
            webhook_address=webhook_address,
            webhook_certificate=webhook_certificate,
            webhook_service=webhook_service,
            webhook_configuration=webhook_configuration,
            workers=workers,
            resync_seconds=resync_seconds,
            log_level=log_level,
        )
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main() -> None:
    """The console script: run the command and exit."""
    from typer._click.exceptions import ClickException

    try:
        # With standalone_mode typer would exit with click's own code 2 for a wrong option.
        code: Any = app(standalone_mode=False)
    except ClickException as error:
        error.show()
        code = Exit.INVALID
    except Exception as error:
        from dbtether.cli.failures import exit_code_of

        code = exit_code_of(error)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    _leave(int(code or 0))


def _leave(code: int) -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more, as after `| head`; without this Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
