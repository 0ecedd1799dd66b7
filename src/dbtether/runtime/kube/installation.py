"""Who this installation is: its id, and the private key of its password fingerprints."""

import re
import secrets

from dbtether.api.resource import Secret
from dbtether.errors import StateError
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import AlreadyExists, ApiError, NotFound
from dbtether.runtime.kube.objects import PartialObject, SecretObject, to_secret
from dbtether.runtime.kube.requests import NAMESPACES, SECRETS, create, get
from dbtether.runtime.kube.secret_watches import MANAGED_BY, MANAGED_BY_US

FINGERPRINT_SECRET = "dbtether-fingerprint-key"  # noqa: S105 - a name

_INSTALLATION = re.compile(r"[a-z0-9-]{1,40}")
_KEY = "key"
_KEY_BYTES = 32


async def find_installation(client: Client, given: str | None) -> str:
    """The given id, else the first part of the UID of kube-system, which lives as long as the cluster.

    Raises StateError when the given one breaks the rule, or when the namespace cannot be read.
    """
    if given is not None:
        if not _INSTALLATION.fullmatch(given):
            raise StateError(
                f"an installation id is 1 to 40 lower-case letters, digits and dashes, which {given[:60]!r} is not"
            )
        return given
    found = await client.send(get(NAMESPACES, "", "kube-system", metadata_only=True), PartialObject)
    return found.metadata.uid.split("-")[0]


async def find_fingerprint_key(client: Client, namespace: str, *, may_create: bool = True) -> bytes:
    """The key in the operator's own Secret, which the first start creates.

    When there is none and none may be created, a key that nobody keeps: no password was ever set by it. Raises
    StateError when the Secret holds something else.
    """
    if may_create:
        try:
            return _checked(await _create(client, namespace))
        except AlreadyExists:
            pass
        except ApiError as error:
            raise error.without_message() from None
    try:
        return _checked(to_secret(await client.send(get(SECRETS, namespace, FINGERPRINT_SECRET), SecretObject)))
    except NotFound:
        return secrets.token_bytes(_KEY_BYTES)


async def _create(client: Client, namespace: str) -> Secret:
    # The API server decides which of two replicas that start together was first.
    body = {
        "metadata": {
            "name": FINGERPRINT_SECRET,
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGED_BY_US},
        },
        "type": "Opaque",
        "data": {_KEY: secrets.token_bytes(_KEY_BYTES)},
    }
    return to_secret(await client.send(create(SECRETS, namespace, body), SecretObject))


def _checked(secret: Secret) -> bytes:
    key = secret.data.get(_KEY, b"")
    if len(key) != _KEY_BYTES:
        raise StateError(
            f"Secret {secret.namespace}/{secret.name} does not hold a key of {_KEY_BYTES} bytes under `{_KEY}`; "
            "delete it, and the next start sets every password from its Secret again"
        )
    return key
