"""What a Secret's data means to each kind of store. Nothing here ever tells a value."""

import json
from collections.abc import Mapping

from dbtether.errors import Blocked

Data = Mapping[str, bytes]


def s3_keys(data: Data) -> dict[str, str | None]:
    """The access key of S3. Raises Blocked when the Secret lacks it."""
    return {
        "access_key_id": _text(data, "AWS_ACCESS_KEY_ID"),
        "secret_access_key": _text(data, "AWS_SECRET_ACCESS_KEY"),
        "token": _text(data, "AWS_SESSION_TOKEN") if data.get("AWS_SESSION_TOKEN") else None,
    }


def gcs_key(data: Data) -> str:
    """The key of a Google service account, as JSON. Raises Blocked when it is something else."""
    name = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
    text = _text(data, name)
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "private_key" not in found:
        raise Blocked(
            "SecretInvalid",
            f"the value under {name} is not the JSON key of a service account; for Workload Identity Federation leave "
            "credentialsSecretRef out",
        )
    return text


def azure_keys(data: Data) -> dict[str, str]:
    """The account's key, or the client's id, secret and tenant. Raises Blocked when neither is complete."""
    if data.get("AZURE_STORAGE_ACCOUNT_KEY"):
        return {"account_key": _text(data, "AZURE_STORAGE_ACCOUNT_KEY")}
    if not data.get("AZURE_CLIENT_ID"):
        raise Blocked(
            "SecretInvalid",
            "neither AZURE_STORAGE_ACCOUNT_KEY nor AZURE_CLIENT_ID with AZURE_CLIENT_SECRET and AZURE_TENANT_ID",
        )
    return {
        "client_id": _text(data, "AZURE_CLIENT_ID"),
        "client_secret": _text(data, "AZURE_CLIENT_SECRET"),
        "tenant_id": _text(data, "AZURE_TENANT_ID"),
    }


def _text(data: Data, name: str) -> str:
    try:
        text = data.get(name, b"").decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        raise Blocked("SecretInvalid", f"no plain text under the key {name}")
    return text
