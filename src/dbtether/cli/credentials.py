"""`dbtether credentials`: how a DatabaseUser logs in. A password is printed only to who asks for it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbtether.api.resource import Key, Resource, Secret
from dbtether.api.secret_keys import SecretTemplate, keys_of
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, note, printable, say, tell
from dbtether.postgres.statement import MASK
from dbtether.runtime.local import LocalStore


def credentials_command(name: str, namespace: str, key: str | None, state: str, output: str) -> Exit:
    """Print the credentials of a user."""
    user, secrets = running.run(_read(state, Key("DatabaseUser", namespace, name)))
    if key is not None:
        _print_value(secrets, key)
    elif output != "table":
        values = [{"name": secret.name, "data": _texts(secret)} for secret in secrets]
        emit({"user": name, "namespace": namespace, "secrets": values}, output)
    else:
        _print_masked(user, secrets)
    return Exit.OK


async def _read(state: str, key: Key) -> tuple[Resource, tuple[Secret, ...]]:
    with LocalStore.open(Path(state), read_only=True) as store:
        user = await store.get(key)
        if user is None:
            raise Quit(Exit.FAILED, f"{key} does not exist")
        entries = [entry for entry in user.status.get("databases") or () if isinstance(entry, dict)]
        named = [user.status.get("secretName"), *(entry.get("secretName") for entry in entries)]
        names = dict.fromkeys(str(found) for found in named if found)
        found = [await store.get_secret(key.namespace, secret) for secret in names]
    secrets = tuple(secret for secret in found if secret is not None)
    if not secrets:
        raise Quit(Exit.FAILED, f"{key} has no credentials yet: {user.status.get('message') or 'apply it first'}")
    return user, secrets


def _texts(secret: Secret) -> dict[str, str]:
    return {key: value.decode(errors="replace") for key, value in sorted(secret.data.items())}


def _print_value(secrets: tuple[Secret, ...], key: str) -> None:
    holders = [secret for secret in secrets if key in secret.data]
    if not holders:
        known = sorted({name for secret in secrets for name in secret.data})
        raise Quit(Exit.INVALID, f"--key {key!r} is not in the Secret; its keys are {', '.join(known)}")
    if len({secret.data[key] for secret in holders}) > 1:
        note(f"the user has {len(holders)} Secrets; this is {holders[0].name}")
    sys.stdout.write(holders[0].data[key].decode(errors="replace") + "\n")


def _print_masked(user: Resource, secrets: tuple[Secret, ...]) -> None:
    hidden = ""
    for index, secret in enumerate(secrets):
        if index:
            say()
        say(f"Secret {secret.namespace}/{secret.name}", style="bold")
        password_key = _password_key(user.spec, secret)
        password = secret.data.get(password_key, b"").decode(errors="replace")
        width = max(len(key) for key in secret.data)
        for key, text in _texts(secret).items():
            # URLs hold the password as well. A key that is not known might.
            is_open = bool(password) and password not in text and key != "jdbcUri"
            say(f"  {key.ljust(width)}   {printable(text) if is_open else MASK}")
        hidden = password_key
    where = "" if user.key.namespace == "default" else f" -n {user.key.namespace}"
    tell(f"dbtether credentials {user.key.name}{where} --key {hidden}   prints the password", style="dim")


def _password_key(spec: Mapping[str, Any], secret: Secret) -> str:
    part = spec.get("secret")
    options = part if isinstance(part, Mapping) else {}
    custom = options.get("keys") if isinstance(options.get("keys"), Mapping) else None
    template = SecretTemplate(options.get("template") or SecretTemplate.RAW)
    wanted = keys_of(template, custom).get("password", "password")
    return wanted if wanted in secret.data else "password"
