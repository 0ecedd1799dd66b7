"""What keeps an operator from writing: another replica that may lead by now, and the read-only mode."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.errors import Blocked
from dbtether.runtime.forwarding import ForwardingStore
from dbtether.runtime.kube.errors import NotLeader
from dbtether.runtime.store import EventType


def leading_only(may_write: Callable[[], bool]) -> Callable[[], None]:
    """A fence for what is sent to servers.

    A process that was stopped for a while goes on where it was: it must not send one more statement before its
    timers tell it that its time is over.
    """

    def fence() -> None:
        if not may_write():
            raise NotLeader("the server is left as it is: another replica may lead now")

    return fence


class ReadOnlyStore(ForwardingStore):
    """A store whose resources and Secrets stay as they are: a write is Blocked, as one on a server is.

    Statuses and Events are written: they are the report.
    """

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """The resource as it is: nothing is made for it that would have to be undone. Raises Blocked at its end."""
        if resource.deleted is not None and finalizers != resource.finalizers:
            raise Blocked("ReadOnlyMode", f"The operator is in read-only mode and did not: let {resource.key} go")
        return resource

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Raise Blocked."""
        del spec, labels, owner
        raise Blocked("ReadOnlyMode", f"The operator is in read-only mode and did not: create {key}")

    async def delete_resource(self, resource: Resource) -> None:
        """Raise Blocked."""
        raise Blocked("ReadOnlyMode", f"The operator is in read-only mode and did not: delete {resource.key}")

    async def write_secret(self, secret: Secret) -> Secret:
        """Raise Blocked."""
        _refuse("change" if secret.resource_version else "create", secret)

    async def delete_secret(self, secret: Secret) -> None:
        """Raise Blocked."""
        _refuse("delete", secret)

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Have an Event written, unless it tells of an end that did not come."""
        if reason != "ForceDeleted":
            await super().record_event(resource, type_, reason, message)


def _refuse(verb: str, secret: Secret) -> NoReturn:
    raise Blocked(
        "ReadOnlyMode",
        f"The operator is in read-only mode and did not: {verb} Secret {secret.namespace}/{secret.name}",
    )
