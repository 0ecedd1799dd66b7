"""`dbtether export --kube`: hands what a state directory holds to a Kubernetes cluster."""

import base64
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dbtether.api.kinds import API_VERSION
from dbtether.api.resource import Resource, Secret
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import note, say
from dbtether.cli.places import Cluster, require_kube_libraries
from dbtether.cli.wanted import everything
from dbtether.runtime.local import LocalStore
from dbtether.runtime.local.block_yaml import block_yaml
from dbtether.runtime.records import FROM_MANIFEST_LABEL

# The operator looks for its key under this name; spelt here so that printing needs no library of the operator.
FINGERPRINT_SECRET = "dbtether-fingerprint-key"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class Handover:
    """All that an operator needs to go on where the state directory ends."""

    installation: str
    namespaces: tuple[str, ...]
    secrets: tuple[Secret, ...]
    resources: tuple[Resource, ...]

    def documents(self) -> Iterator[dict[str, Any]]:
        """The manifests, in the order in which they can be created."""
        for name in self.namespaces:
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for secret in self.secrets:
            yield secret_document(secret)
        for resource in self.resources:
            yield resource_document(resource)


def export_command(state: str, cluster: Cluster | None, *, apply: bool) -> Exit:
    """Print the manifests, or create them in the cluster, and say how the operator is to be started."""
    if cluster is None:
        raise Quit(Exit.INVALID, "say where to: --kube prints manifests for a cluster, --kube --apply creates them")
    handover = running.run(_gathered(state, cluster))
    if apply:
        require_kube_libraries()
        from dbtether.cli.kube.moving import move_in

        for line in running.run(move_in(handover, cluster)):
            say(line)
    else:
        sys.stdout.write("---\n".join(block_yaml(document) for document in handover.documents()))
        note("what was printed holds passwords: pipe it into `kubectl create -f -` rather than into a file")
    note(f"start the operator with: {' '.join(operator_options(handover, cluster.operator_namespace))}")
    note(f"from then on the operator keeps all of it: apply nothing from the state in {state} any more")
    return Exit.OK


async def _gathered(state: str, cluster: Cluster) -> Handover:
    """What the state holds. Raises Quit when something of it is being deleted."""
    with LocalStore.open(Path(state), cluster.installation, read_only=True) as store:
        resources = await everything(store)
        secrets = await store.list_secrets()
        installation, key = store.installation, store.fingerprint_key
    if not resources:
        raise Quit(Exit.FAILED, f"the state in {state} holds no resource; there is nothing to export")
    doomed = [resource for resource in resources if resource.deleted is not None]
    if doomed:
        raise Quit(Exit.FAILED, *(f"{one.key} is being deleted: let `dbtether delete` finish that" for one in doomed))
    own = Secret(
        cluster.operator_namespace,
        FINGERPRINT_SECRET,
        {"key": key},
        labels={"app.kubernetes.io/managed-by": "dbtether"},
    )
    moved = (own, *(_without_owner(secret) for secret in secrets))
    namespaces = {secret.namespace for secret in moved} | {resource.key.namespace for resource in resources}
    return Handover(installation, tuple(sorted(namespaces - {"", "default"})), moved, resources)


def _without_owner(secret: Secret) -> Secret:
    """The Secret as the operator will find it its own: by the user's label, since the user gets another uid."""
    labels = {name: value for name, value in secret.labels.items() if name != FROM_MANIFEST_LABEL}
    return replace(secret, labels=labels, owner=None, uid="", resource_version="")


def operator_options(handover: Handover, operator_namespace: str) -> list[str]:
    """The options without which the operator would not find what it needs."""
    options = [f"--installation={handover.installation}"]
    specs = [resource.spec for resource in handover.resources if resource.key.kind == "DBCluster"]
    namespaces = {name for spec in specs for name in _namespaces_of(spec)} - {operator_namespace}
    if namespaces:
        options.append(f"--credentials-namespaces={','.join(sorted(namespaces))}")
    variables = {str(name) for spec in specs for name in (spec.get("credentialsFromEnv") or {}).values()}
    if variables:
        options.append(f"--credentials-env={','.join(sorted(variables))}")
    return options


def _namespaces_of(spec: Mapping[str, Any]) -> Iterator[str]:
    tls = spec.get("tls") or {}
    for reference in (spec.get("credentialsSecretRef"), tls.get("caSecretRef"), tls.get("clientCertSecretRef")):
        if reference:
            yield str(reference["namespace"])


def resource_document(resource: Resource) -> dict[str, Any]:
    """The resource as a manifest: what a person asks for, and nothing that a store keeps beside it."""
    metadata: dict[str, Any] = {"name": resource.key.name}
    if resource.key.namespace:
        metadata["namespace"] = resource.key.namespace
    _put(metadata, resource.labels, resource.annotations)
    return {
        "apiVersion": API_VERSION,
        "kind": resource.key.kind,
        "metadata": metadata,
        "spec": dict(resource.spec),
    }


def secret_document(secret: Secret) -> dict[str, Any]:
    """The Secret as a manifest."""
    metadata: dict[str, Any] = {"name": secret.name, "namespace": secret.namespace}
    _put(metadata, secret.labels, secret.annotations)
    data = {name: base64.b64encode(value).decode("ascii") for name, value in sorted(secret.data.items())}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": secret.type, "data": data}


def _put(metadata: dict[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
