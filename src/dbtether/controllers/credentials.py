"""A user's Secrets: which password is in force, and what each Secret should hold. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from dbtether.api.databaseuser import SecretSpec
from dbtether.api.identifiers import MAX_LABEL
from dbtether.api.names import short_id
from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.api.secret_keys import Login, OnConflict, credentials_data, keys_of
from dbtether.errors import Blocked

USER_LABEL = "dbtether.io/databaseuser"
"""Names the DatabaseUser that a Secret belongs to; it stays when the owner reference goes."""
KEYS_ANNOTATION = "dbtether.io/keys"
"""Lists the keys of a Secret that are ours, so that a changed template leaves none behind."""
MANAGED_BY = "app.kubernetes.io/managed-by"
_MAX_PASSWORD_BYTES = 1024


def user_label(user: Key) -> str:
    """The value of USER_LABEL: the user's name, cut with a hash where a label has no room for it."""
    if len(user.name) <= MAX_LABEL:
        return user.name
    ending = f"-{short_id(user.name)}"
    return user.name[: MAX_LABEL - len(ending)].rstrip("-.") + ending


def belongs_to(secret: Secret, user: Key) -> bool:
    """Whether the Secret is this DatabaseUser's: by its owner reference, else by the label that outlives it."""
    if secret.owner is not None:
        return (secret.owner.kind, secret.owner.name) == (user.kind, user.name)
    return secret.labels.get(USER_LABEL) == user_label(user)


def stored_password(secret: Secret, spec: SecretSpec, is_recorded: Callable[[str], bool]) -> str | None:
    """The password in a Secret of ours: under the template's key, else whichever value was in force before.

    None when there is none. A changed template must not change the password, and its fingerprint tells it
    whatever the old key was called. Raises Blocked when somebody put something there that is no password.
    """
    key = _keys(spec)["password"]
    is_ours = key in _our_keys(secret) or KEYS_ANNOTATION not in secret.annotations
    if is_ours and (current := secret.data.get(key)):
        return checked_password(current, f"Secret {secret.namespace}/{secret.name}")
    texts = [_decoded(value) for value in secret.data.values()]
    return next((text for text in texts if text and is_recorded(text)), None)


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
    """The Secret as it should be stored. Raises Blocked when the name, or a key to merge, is somebody else's.

    Keys, labels and annotations that are not ours are kept; one that we merged into stays its owner's.
    """
    ours = credentials_data(login, spec.template, custom=_custom(spec), extended=spec.extended)
    labels = {MANAGED_BY: "dbtether", USER_LABEL: user_label(user.key), **spec.labels}
    annotations = {**spec.annotations, KEYS_ANNOTATION: ",".join(sorted(ours))}
    owner = Owner(user.key.kind, user.key.name, user.uid)
    if existing is None:
        return Secret(user.key.namespace, name, ours, labels=labels, annotations=annotations, owner=owner)
    is_ours = belongs_to(existing, user.key)
    if not is_ours:
        _refuse_foreign(existing, spec)
    is_guest = is_merged(existing, user.key) or (not is_ours and spec.on_conflict is OnConflict.MERGE)
    if is_guest:
        _refuse_foreign_keys(existing, ours)
        labels.pop(MANAGED_BY)
    kept = {key: value for key, value in existing.data.items() if key not in _our_keys(existing)}
    return replace(
        existing,
        data=kept | ours,
        labels={**existing.labels, **labels},
        annotations={**existing.annotations, **annotations},
        owner=None if is_guest else owner,
    )


def is_merged(secret: Secret, user: Key) -> bool:
    """Whether the Secret is somebody's that this user's keys were put into."""
    return belongs_to(secret, user) and secret.owner is None and MANAGED_BY not in secret.labels


def without_ours(secret: Secret, spec: SecretSpec) -> Secret:
    """A merged Secret without what we put into it."""
    ours = _our_keys(secret)
    return replace(
        secret,
        data={key: value for key, value in secret.data.items() if key not in ours},
        labels={name: v for name, v in secret.labels.items() if name not in {USER_LABEL, *spec.labels}},
        annotations={n: v for n, v in secret.annotations.items() if n not in {KEYS_ANNOTATION, *spec.annotations}},
    )


def _our_keys(secret: Secret) -> list[str]:
    """The keys that we wrote; the others are somebody else's."""
    return [key for key in secret.annotations.get(KEYS_ANNOTATION, "").split(",") if key]


def _custom(spec: SecretSpec) -> Mapping[str, str] | None:
    return spec.keys.by_field if spec.keys is not None else None


def _keys(spec: SecretSpec) -> Mapping[str, str]:
    return keys_of(spec.template, _custom(spec))


def _refuse_foreign(existing: Secret, spec: SecretSpec) -> None:
    place = f"Secret {existing.namespace}/{existing.name}"
    if spec.on_conflict is OnConflict.FAIL:
        raise Blocked(
            "SecretConflict",
            f"{place} exists already and is not this user's: nothing was changed; choose another spec.secret.name, "
            f"or set spec.secret.onConflict to Adopt or Merge",
        )
    why = None
    if existing.owner is not None:
        why = "it belongs to another resource"
    elif existing.type != "Opaque":
        why = f"its type is {existing.type}"
    elif USER_LABEL in existing.labels:
        why = f"its label {USER_LABEL} says that another DatabaseUser's credentials are in it"
    if why is not None:
        raise Blocked("SecretConflict", f"{place} cannot be taken over: {why}; choose another spec.secret.name")


def _refuse_foreign_keys(existing: Secret, ours: Mapping[str, bytes]) -> None:
    """In somebody else's Secret, only keys that nobody has, or that we wrote, are ours to set."""
    taken = sorted(ours.keys() & existing.data.keys() - set(_our_keys(existing)))
    if taken:
        raise Blocked(
            "SecretConflict",
            f"Secret {existing.namespace}/{existing.name} has a key {', '.join(taken)} already that is not this "
            f"user's: nothing was changed; choose other keys by spec.secret.template or spec.secret.keys, "
            f"or another spec.secret.name",
        )
