"""A user's Secrets: which password is in force, and what each Secret should hold. Pure."""

from dataclasses import dataclass, replace

from dbtether.api.databaseuser import SecretSpec
from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.api.secret_keys import EXTENDED_KEYS, Login, OnConflict, credentials_data, keys_of
from dbtether.errors import Blocked
from dbtether.postgres.passwords import fingerprint

USER_LABEL = "dbtether.io/databaseuser"
"""Names the DatabaseUser that a Secret belongs to; it stays when the owner reference goes."""
MANAGED_BY = "app.kubernetes.io/managed-by"
_MAX_PASSWORD_BYTES = 1024


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """A password and where it came from. Its repr never shows it."""

    text: str
    is_new: bool

    def __repr__(self) -> str:
        return f"Password(is_new={self.is_new})"


def belongs_to(secret: Secret, user: Key) -> bool:
    """Whether the Secret is this DatabaseUser's: by its owner reference, else by the label that outlives it."""
    if secret.owner is not None:
        return (secret.owner.kind, secret.owner.name) == (user.kind, user.name)
    return secret.labels.get(USER_LABEL) == user.name


def stored_password(
    secret: Secret, spec: SecretSpec, key: bytes, username: str, recorded_fingerprint: str | None
) -> str | None:
    """The password in a Secret of ours: under the template's key, else whichever value was in force before.

    None when there is none. A changed template must not change the password, and the fingerprint tells it
    whatever the old key was called. Raises Blocked when somebody put something there that is no password.
    """
    custom = spec.keys.by_field if spec.keys is not None else None
    current = secret.data.get(keys_of(spec.template, custom)["password"])
    if not current:
        texts = [_decoded(value) for value in secret.data.values()]
        return next((t for t in texts if t and recorded_fingerprint == fingerprint(key, username, t)), None)
    return checked_password(current, f"Secret {secret.namespace}/{secret.name}")


def checked_password(value: bytes, place: str) -> str:
    """The password in a Secret's value. Raises Blocked when PostgreSQL or libpq could not take it."""
    text = _decoded(value)
    if text is None or "\0" in text or len(value) > _MAX_PASSWORD_BYTES:
        raise Blocked(
            "SecretInvalid",
            f"{place}: the password is not text of at most {_MAX_PASSWORD_BYTES} bytes; "
            f"correct it, or delete the key and a new password is made",
        )
    return text


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def wanted_secret(user: Resource, name: str, existing: Secret | None, spec: SecretSpec, login: Login) -> Secret:
    """The Secret as it should be stored. Raises Blocked when the name is somebody else's.

    A Secret that we merged into stays its owner's: foreign keys, labels and annotations are kept.
    """
    custom = spec.keys.by_field if spec.keys is not None else None
    data = credentials_data(login, spec.template, custom=custom, extended=spec.extended)
    labels = {MANAGED_BY: "dbtether", USER_LABEL: user.key.name, **spec.labels}
    owner = Owner(user.key.kind, user.key.name, user.uid)
    if existing is None:
        return Secret(user.key.namespace, name, data, labels=labels, annotations=dict(spec.annotations), owner=owner)
    ours = belongs_to(existing, user.key)
    if not ours:
        _refuse_foreign(existing, spec)
    if is_merged(existing, user.key) or (not ours and spec.on_conflict is OnConflict.MERGE):
        data, owner_after = {**existing.data, **data}, None
        labels.pop(MANAGED_BY)
    else:
        owner_after = owner
    return replace(
        existing,
        data=data,
        labels={**existing.labels, **labels},
        annotations={**existing.annotations, **spec.annotations},
        owner=owner_after,
    )


def is_merged(secret: Secret, user: Key) -> bool:
    """Whether the Secret is somebody's that this user's keys were put into."""
    return belongs_to(secret, user) and secret.owner is None and MANAGED_BY not in secret.labels


def without_ours(secret: Secret, spec: SecretSpec) -> Secret:
    """A merged Secret without what we put into it."""
    custom = spec.keys.by_field if spec.keys is not None else None
    keys = {*keys_of(spec.template, custom).values(), *EXTENDED_KEYS, "databases"}
    return replace(
        secret,
        data={key: value for key, value in secret.data.items() if key not in keys},
        labels={name: value for name, value in secret.labels.items() if name != USER_LABEL},
    )


def _refuse_foreign(existing: Secret, spec: SecretSpec) -> None:
    place = f"Secret {existing.namespace}/{existing.name}"
    if spec.on_conflict is OnConflict.FAIL:
        raise Blocked(
            "SecretConflict",
            f"{place} exists already and is not this user's: nothing was changed; choose another spec.secret.name, "
            f"or set spec.secret.onConflict to Adopt or Merge",
        )
    if existing.type != "Opaque" or existing.owner is not None:
        why = "it belongs to another resource" if existing.owner is not None else f"its type is {existing.type}"
        raise Blocked("SecretConflict", f"{place} cannot be taken over: {why}; choose another spec.secret.name")
