"""The operator with short pauses between the attempts of a backup, and with little patience with lost nodes."""

import argparse
import asyncio
import logging
import secrets
from pathlib import Path

from dbtether.controllers.backup import BackupSettings
from dbtether.operator.process import run_operator
from dbtether.operator.settings import OperatorSettings
from dbtether.runtime.kube import JobLimits, JobTemplate, read_kubeconfig
from dbtether.runtime.logs import configure_json_logs
from dbtether.runtime.serving import Address


def main() -> None:
    """Run until a signal, with some of the options of `dbtether operator`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["operator"])
    for option in ("kubeconfig", "namespace", "metrics-address", "health-address", "job-template"):
        parser.add_argument(f"--{option}", required=True)
    given = parser.parse_args()
    configure_json_logs(logging.INFO)
    settings = OperatorSettings(
        namespace=given.namespace,
        identity=f"hasty-{secrets.token_hex(3)}",
        metrics=Address.parse(given.metrics_address),
        health=Address.parse(given.health_address),
        job_template=JobTemplate.parse(given.job_template),
        job_limits=JobLimits(lost_seconds=1.0),
        backups=BackupSettings(pauses_seconds=(0.2,) * 12),
    )
    asyncio.run(run_operator(settings, read_kubeconfig([Path(given.kubeconfig)])))


if __name__ == "__main__":
    main()
