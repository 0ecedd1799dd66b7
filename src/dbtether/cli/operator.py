"""`dbtether operator`: from options to an operator process, and its end."""

import logging
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from dbtether.cli.exits import Exit, Quit
from dbtether.cli.running import Interrupted, run
from dbtether.controllers.backup import BackupSettings
from dbtether.errors import StateError
from dbtether.operator.process import run_operator
from dbtether.operator.settings import OperatorSettings, WebhookSettings
from dbtether.runtime.controller import LoopSettings
from dbtether.runtime.kube import JobTemplate, KubeconfigError, NotLeader, TaskEnded, find_connection
from dbtether.runtime.logs import configure_json_logs
from dbtether.runtime.serving import Address

logger = logging.getLogger("dbtether.operator")

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Options:
    """The options as they were given."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None
    installation: str | None
    watch_namespaces: tuple[str, ...]
    credentials_namespaces: tuple[str, ...]
    credentials_env: tuple[str, ...]
    local_storage_root: str | None
    job_template: str | None
    max_concurrent_backups: int
    leader_elect: bool
    read_only: bool
    metrics_address: str
    health_address: str
    webhook_address: str
    webhook_certificate: str | None
    webhook_service: str
    webhook_configuration: str
    workers: int
    resync_seconds: float
    log_level: str


def operate(options: Options) -> int:
    """Run until SIGTERM; the exit code. Raises Quit for what cannot be started."""
    level = getattr(logging, options.log_level.upper(), None)
    if not isinstance(level, int):
        raise Quit(Exit.INVALID, f"--log-level: {options.log_level!r} is not one of debug, info, warning, error")
    configure_json_logs(level)
    path = None if options.kubeconfig is None else Path(options.kubeconfig)
    try:
        connection = find_connection(context=options.context, kubeconfig=path)
    except KubeconfigError as error:
        raise Quit(Exit.INVALID, str(error)) from None
    try:
        run(run_operator(_settings(options), connection))
    except Interrupted:
        logger.info("stopped")
        return Exit.OK
    except NotLeader as error:
        # The process ends, and is started again by whoever runs it: nobody knows what a half-stopped one does.
        logger.error("%s", error)
    except TaskEnded as error:
        logger.error("%s", error, exc_info=error.__cause__)
    except StateError as error:
        logger.error("%s", error)
    except OSError as error:
        logger.error("cannot listen: %s", error.strerror or error)
    except Exception as error:
        # Nobody can run a Pod again by hand to see more of it.
        logger.error("a bug in the operator", exc_info=error)
    return Exit.FAILED


def _settings(options: Options) -> OperatorSettings:
    return OperatorSettings(
        namespace=options.namespace or _own_namespace(),
        # Unlike that of an earlier life of this Pod: the Lease tells them apart.
        identity=f"{os.environ.get('POD_NAME') or socket.gethostname()}-{secrets.token_hex(3)}",
        installation=options.installation,
        watch_namespaces=options.watch_namespaces,
        credentials_namespaces=options.credentials_namespaces,
        credentials_variables=frozenset(options.credentials_env),
        local_storage_root=None if options.local_storage_root is None else Path(options.local_storage_root),
        job_template=None if options.job_template is None else _job_template(options.job_template),
        backups=BackupSettings(at_once=options.max_concurrent_backups),
        leader_elect=options.leader_elect,
        read_only=options.read_only,
        metrics=_address("--metrics-address", options.metrics_address),
        health=_address("--health-address", options.health_address),
        webhook=_webhook(options),
        loop=LoopSettings(workers=options.workers, resync_seconds=options.resync_seconds),
    )


def _job_template(text: str) -> JobTemplate:
    try:
        return JobTemplate.parse(text)
    except ValueError as error:
        raise Quit(Exit.INVALID, f"--job-template: {error}") from None


def _webhook(options: Options) -> WebhookSettings | None:
    address = _address("--webhook-address", options.webhook_address)
    if address is None:
        return None
    return WebhookSettings(
        address,
        service=options.webhook_service,
        configuration=options.webhook_configuration,
        certificate_folder=None if options.webhook_certificate is None else Path(options.webhook_certificate),
    )


def _address(option: str, text: str) -> Address | None:
    if not text:
        return None
    try:
        return Address.parse(text)
    except ValueError as error:
        raise Quit(Exit.INVALID, f"{option}: {error}") from None


def _own_namespace() -> str:
    if named := os.environ.get("POD_NAMESPACE"):
        return named
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        raise Quit(Exit.INVALID, "--namespace: say which namespace is the operator's own") from None
