"""What the operator of a cluster would do now, or after manifests were applied to it."""

from dataclasses import replace

from dbtether.api.manifests import Document
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.kube.reading import connected
from dbtether.cli.kube.snapshot import Snapshot, take_snapshot
from dbtether.cli.kube.specs import is_same_spec
from dbtether.cli.output import note
from dbtether.cli.places import Cluster
from dbtether.cli.planning import Plan, make_plan
from dbtether.cli.wanted import Wanted, check_against
from dbtether.errors import Blocked


async def plan_on_cluster(cluster: Cluster, wanted: Wanted, wait_seconds: float) -> Plan:
    """The plan; nothing is written. Raises Quit where the cluster cannot be read."""
    async with connected(cluster) as reader:
        snapshot = await take_snapshot(reader, cluster)
        return await plan_on_snapshot(snapshot, wanted, wait_seconds)


async def plan_on_snapshot(snapshot: Snapshot, wanted: Wanted, wait_seconds: float) -> Plan:
    """The plan over a snapshot, and a note on the Secrets that RBAC kept back."""
    _check_served(snapshot, wanted)
    await _taken_as_manifests(snapshot, wanted.secrets)
    wanted = replace(wanted, resources=tuple([await _as_stored(snapshot, one) for one in wanted.resources]))
    await check_against(snapshot, wanted)
    plan = await make_plan(
        snapshot,
        wanted,
        (),
        wait_seconds,
        namespace_labels=snapshot.namespace_labels,
        secret_namespaces=snapshot.secret_namespaces,
    )
    if snapshot.refused:
        names = ", ".join(f"{namespace}/{name}" for namespace, name in sorted(snapshot.refused))
        note(f"RBAC does not let you get these Secrets, so the plan leaves out what depends on them: {names}")
    if any(reason in ("RoleNotOurs", "DatabaseNotOurs") for _, reason, _ in plan.blocked):
        note(f"compared as installation {snapshot.installation}; if the operator has another one, give --installation")
    return plan


def _check_served(snapshot: Snapshot, wanted: Wanted) -> None:
    """Raise Quit for manifests that the operator would pass over."""
    served = snapshot.watch_namespaces
    others = sorted({one.key.namespace for one in wanted.resources if one.key.namespace} - set(served))
    if served and others:
        raise Quit(
            Exit.INVALID,
            f"the operator serves the namespaces {', '.join(served)} only (--watch-namespaces), and manifests are "
            f"for {', '.join(others)}",
        )


async def _as_stored(snapshot: Snapshot, document: Document) -> Document:
    """The document as the cluster would keep it: one that differs by defaults alone is the stored one.

    What others have put into labels and annotations stays, as with `kubectl apply`.
    """
    stored = await snapshot.get(document.key)
    if stored is None:
        return document
    is_equal = is_same_spec(document.key, stored.spec, document.spec)
    return replace(
        document,
        spec=stored.spec if is_equal else document.spec,
        labels={**stored.labels, **document.labels},
        annotations={**stored.annotations, **document.annotations},
    )


async def _taken_as_manifests(snapshot: Snapshot, secrets: tuple[Document, ...]) -> None:
    """Let the manifests change these Secrets of the cluster, as `kubectl apply` would, but none of the operator's."""
    for document in secrets:
        try:
            await snapshot.allow_change(document.key.namespace, document.key.name)
        except Blocked as refusal:
            raise Quit(Exit.STATE, refusal.message) from None
