"""The Secrets of the platform: admin logins, CAs, storage keys. Cluster-scoped resources name them."""

from dbtether.api.references import CaSecretRef, SecretRef
from dbtether.api.resource import Secret
from dbtether.errors import Blocked
from dbtether.runtime.store import Store


class PlatformSecrets:
    """Reads them from the namespaces that are open to it, and from no other.

    Whoever may create a DBCluster or a BackupStorage must not be able to have another tenant's Secret sent to a
    server of theirs.
    """

    def __init__(self, store: Store, namespaces: frozenset[str] | None = None) -> None:
        """`namespaces` are those that may be named; None for all."""
        self._store = store
        self._namespaces = namespaces

    async def read(self, ref: SecretRef | CaSecretRef, kind: str) -> Secret:
        """The Secret that a resource of the kind names. Raises Blocked when it may not, or there is none."""
        if self._namespaces is not None and ref.namespace not in self._namespaces:
            raise Blocked(
                "ReferenceNotAllowed",
                f"Secret {ref.namespace}/{ref.name}: the operator reads Secrets of {kind}s from the namespaces "
                f"{', '.join(sorted(self._namespaces))} only; put it there, or add the namespace to "
                f"--credentials-namespaces",
            )
        found = await self._store.get_secret(ref.namespace, ref.name)
        if found is None:
            raise Blocked(
                "SecretNotFound",
                f"Secret {ref.namespace}/{ref.name} does not exist: create it with the keys that the {kind} needs",
            )
        return found
