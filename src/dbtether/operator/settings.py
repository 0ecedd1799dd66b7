"""What an operator process must be told."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from dbtether.controllers.backup import BackupSettings
from dbtether.runtime.certificates import LIFETIME
from dbtether.runtime.controller import LoopSettings
from dbtether.runtime.kube import JobLimits, JobTemplate, LeaseSettings
from dbtether.runtime.serving import Address


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where the webhook listens and where its certificate comes from."""

    address: Address
    service: str = "dbtether-webhook"
    """The Service whose DNS names the certificate is for."""
    configuration: str = "dbtether"
    """The ValidatingWebhookConfiguration that learns our own CA."""
    certificate_folder: Path | None = None
    """`tls.crt` and `tls.key` as cert-manager mounts them; None makes a CA of our own."""
    certificate_lifetime: timedelta = LIFETIME
    """Of a certificate and a CA of our own; they are renewed when a sixth of it is left."""
    reload_seconds: float = 10.0
    """How often a certificate's files are looked at."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """An operator's settings; the command line fills them."""

    namespace: str
    """Its own: the Lease and its Secrets live there."""
    identity: str
    """The Pod's name, unlike any other replica's."""
    installation: str | None = None
    watch_namespaces: tuple[str, ...] = ()
    """Empty for all."""
    credentials_namespaces: tuple[str, ...] = ()
    """Namespaces besides its own whose Secrets a DBCluster or a BackupStorage may name."""
    credentials_variables: frozenset[str] = frozenset()
    """Environment variables that `credentialsFromEnv` may name: those the chart's extraEnv declares."""
    local_storage_root: Path | None = None
    """The folder, of a mounted volume, that BackupStorages with `local` may use; None for none."""
    job_template: JobTemplate | None = None
    """What the Pods of its Jobs have in common; None where nobody said, and no Job is started."""
    job_limits: JobLimits = field(default_factory=JobLimits)
    backups: BackupSettings = field(default_factory=BackupSettings)
    leader_elect: bool = False
    read_only: bool = False
    """Nothing is written on any server; what would change is reported."""
    lease_name: str = "dbtether"
    metrics: Address | None = None
    health: Address | None = None
    webhook: WebhookSettings | None = None
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)

    @property
    def secret_namespaces(self) -> frozenset[str]:
        """The namespaces whose Secrets a DBCluster or a BackupStorage may name."""
        return frozenset({self.namespace, *self.credentials_namespaces})
