"""The Secrets of jobs: one each, with what its program is given. No error here repeats what the server quotes."""

from typing import Any

from dbtether.api.resource import Resource
from dbtether.errors import Retryable, StateError
from dbtether.runtime.jobs import JobSpec
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from dbtether.runtime.kube.job_objects import COMPONENT, COMPONENT_JOB, SELECTOR, secret_object
from dbtether.runtime.kube.objects import PartialObject, PartialObjectList
from dbtether.runtime.kube.requests import JOBS, SECRETS, Collection, create, delete, get, replace


class JobSecrets:
    """The Secrets of the jobs of one namespace; whoever calls this holds the job's lock."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def names(self) -> set[str]:
        """The jobs that have a Secret. Raises StateError."""
        collection = Collection(SECRETS, self._namespace, label_selector=SELECTOR, metadata_only=True)
        found = await self._client.send(collection.list_page(limit=None), PartialObjectList)
        return {secret.metadata.name for secret in found.items or ()}

    async def make(self, spec: JobSpec) -> None:
        """Store the job's files. Raises Retryable when that is refused, StateError."""
        request = create(SECRETS, self._namespace, secret_object(spec))
        try:
            try:
                await self._client.send_raw(request)
            except AlreadyExists:
                # Of an attempt that was killed before its Job was made: another password by now.
                await self.drop(spec.name)
                await self._client.send_raw(request)
        except (Forbidden, Invalid) as error:
            raise refused(f"Secret {self._namespace}/{spec.name}", error.without_message()) from None
        except ApiError as error:
            raise error.without_message() from None

    async def give_to(self, job: Resource) -> None:
        """Have the Secret go with its Job, whatever becomes of us. Raises StateError."""
        name = job.key.name
        try:
            secret = await self._client.send(get(SECRETS, self._namespace, name), dict[str, Any])
            metadata = secret["metadata"]
            if metadata.get("ownerReferences"):
                return
            owner = {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "name": name, "uid": job.uid}
            metadata["ownerReferences"] = [owner]
            await self._client.send_raw(replace(SECRETS, self._namespace, name, secret))
        except NotFound:
            return
        except ApiError as error:
            raise error.without_message() from None

    async def drop(self, name: str) -> None:
        """Delete the job's Secret, if it is there; one of that name that is no job's stays. Raises StateError."""
        try:
            found = await self._client.send(get(SECRETS, self._namespace, name, metadata_only=True), PartialObject)
            if (found.metadata.labels or {}).get(COMPONENT) != COMPONENT_JOB:
                raise StateError(f"Secret {self._namespace}/{name} is not a job's: give it another name")
            await self._client.send_raw(delete(SECRETS, self._namespace, name, uid=found.metadata.uid))
        except NotFound:
            return
        except ApiError as error:
            raise error.without_message() from None


def refused(what: str, error: ApiError) -> Retryable:
    """What a refusal of the API server means to whom the job is for: a quota or a policy, which may change."""
    why = error.status.message[:500] or "look at the namespace's ResourceQuotas and admission policies"
    return Retryable(
        "JobRefused",
        f"{what} was not created, the API server answers {error.status.code} {error.status.reason}: {why}",
    )
