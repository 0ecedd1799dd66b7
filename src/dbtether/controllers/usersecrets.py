"""Reading and writing the Secrets of one DatabaseUser."""

from collections.abc import Sequence
from dataclasses import replace

from dbtether.api.databaseuser import DatabaseUserSpec, SecretGeneration, Target, secret_names
from dbtether.api.resource import Resource, Secret
from dbtether.api.secret_keys import Login
from dbtether.controllers.base import Waiting, World
from dbtether.controllers.credentials import (
    belongs_to,
    checked_password,
    is_merged,
    stored_password,
    wanted_secret,
    without_ours,
)
from dbtether.controllers.userlogin import User
from dbtether.errors import Blocked
from dbtether.postgres.passwords import fingerprint
from dbtether.runtime.store import Store


class UserSecrets:
    """The Secrets that a DatabaseUser's credentials are written to, found again by name and label."""

    def __init__(self, store: Store, user: Resource, spec: DatabaseUserSpec) -> None:
        self._store = store
        self._user = user
        self._spec = spec
        self._names = secret_names(spec, user.key.namespace, user.key.name)

    async def password(self, username: str) -> str | None:
        """The password in force; None when there is none yet. Raises Waiting or Blocked.

        The Secret is the truth: what stands in it is what the role gets, after a crash as after an edit. Of
        several Secrets, one that was edited counts.
        """
        if self._spec.password_secret_ref is not None:
            return await self._own_password()
        recorded = self._user.status.get("passwordFingerprint")

        def is_recorded(text: str) -> bool:
            return fingerprint(self._store.fingerprint_key, username, text) == recorded

        found: list[str] = []
        for name in self._all_names():
            secret = await self._store.get_secret(self._user.key.namespace, name)
            if secret is not None and belongs_to(secret, self._user.key):
                text = stored_password(secret, self._spec.secret, is_recorded)
                found += [] if text is None else [text]
        edited = (text for text in found if not is_recorded(text))
        return next(edited, None) or next(iter(found), None)

    async def write(self, login: Login, places: Sequence[tuple[Target, str]]) -> str:
        """Write every Secret that differs, remove those of earlier specs, and give the first one's name.

        Raises Blocked when a name is somebody else's; then none was written.
        """
        wanted = await self._wanted(login, places)
        for existing, secret in wanted:
            if existing != secret:
                await self._store.write_secret(secret)
        kept = {secret.name for _, secret in wanted}
        for name in self._earlier_names():
            if name not in kept:
                await self._remove(name)
        return wanted[0][1].name

    async def release(self) -> None:
        """Keep the Secrets although the user goes: without an owner nothing collects them."""
        for name in self._all_names():
            secret = await self._store.get_secret(self._user.key.namespace, name)
            if secret is not None and secret.owner is not None and belongs_to(secret, self._user.key):
                await self._store.write_secret(replace(secret, owner=None))

    async def remove(self) -> None:
        """Remove the Secrets that are this user's, and what was put into somebody else's."""
        for name in self._all_names():
            await self._remove(name)

    async def _wanted(self, login: Login, places: Sequence[tuple[Target, str]]) -> list[tuple[Secret | None, Secret]]:
        databases = tuple(dict.fromkeys(database for _, database in places))
        is_one = self._spec.secret_generation is SecretGeneration.PRIMARY
        wanted: dict[str, tuple[Secret | None, Secret]] = {}
        for target, database in places:
            name = self._names[(target.namespace, target.name)]
            if name in wanted:
                continue
            existing = await self._store.get_secret(self._user.key.namespace, name)
            own = replace(login, database=database, databases=databases if is_one else ())
            wanted[name] = (existing, wanted_secret(self._user, name, existing, self._spec.secret, own))
        return list(wanted.values())

    async def _own_password(self) -> str:
        ref = self._spec.password_secret_ref
        assert ref is not None
        namespace = self._user.key.namespace
        secret = await self._store.get_secret(namespace, ref.name)
        if secret is None:
            raise Waiting("SecretNotFound", f"Secret {namespace}/{ref.name} with the password does not exist yet")
        value = secret.data.get(ref.key)
        if not value:
            raise Blocked("SecretInvalid", f"Secret {namespace}/{ref.name} has no value under the key {ref.key}")
        return checked_password(value.removesuffix(b"\n"), f"Secret {namespace}/{ref.name}")

    def _earlier_names(self) -> list[str]:
        """The Secrets that the status tells of; the spec may name others by now."""
        entries = self._user.status.get("databases", ())
        names = [self._user.status.get("secretName")]
        names += [entry.get("secretName") for entry in entries if isinstance(entry, dict)]
        names += self._user.status.get("moreSecrets", ())
        return [name for name in dict.fromkeys(names) if isinstance(name, str) and name]

    def _all_names(self) -> list[str]:
        return list(dict.fromkeys([*self._names.values(), *self._earlier_names()]))

    async def _remove(self, name: str) -> None:
        secret = await self._store.get_secret(self._user.key.namespace, name)
        if secret is None or not belongs_to(secret, self._user.key):
            return
        if is_merged(secret, self._user.key):
            await self._store.write_secret(without_ours(secret, self._spec.secret))
            return
        await self._store.delete_secret(secret)


async def write_credentials(world: World, user: User, password: str) -> str:
    """Write what the user's login needs into its Secrets, and give the name of the first. Raises Blocked."""
    sslmode, ca = await world.servers.client_tls(user.cluster)
    login = Login(
        host=user.cluster.endpoint,
        port=user.cluster.port,
        database=user.places[0].database,
        user=user.login,
        password=password,
        sslmode=sslmode,
        ca=ca,
    )
    secrets = UserSecrets(world.store, user.resource, user.spec)
    return await secrets.write(login, [(place.target, place.database) for place in user.places])
