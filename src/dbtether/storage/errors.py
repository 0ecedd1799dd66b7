"""What a store may answer instead of what was asked for, told apart and each with one sentence.

No message quotes the store's own text: it can hold signatures, access key ids and whatever else was sent.
"""

from enum import StrEnum

from dbtether.errors import DbtetherError


class Fault(StrEnum):
    """Why a store did not do what it was asked; the words are reasons of statuses too."""

    OBJECT_NOT_FOUND = "ObjectNotFound"
    OBJECT_EXISTS = "ObjectExists"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "StorageAccessDenied"
    CREDENTIALS_REFUSED = "StorageCredentialsRefused"
    NO_IDENTITY = "CloudIdentityFailed"
    WRONG_REGION = "WrongRegion"
    CLOCK_SKEW = "ClockSkew"
    FULL = "StorageFull"
    UNREACHABLE = "StorageUnreachable"
    BUSY = "StorageBusy"
    REFUSED = "StorageRefused"

    @property
    def passes(self) -> bool:
        """Whether it may pass by itself, without anybody changing a resource."""
        return self in (Fault.UNREACHABLE, Fault.BUSY, Fault.CLOCK_SKEW, Fault.FULL, Fault.NO_IDENTITY)


_SENTENCES = {
    Fault.OBJECT_NOT_FOUND: "the object does not exist: list what is there, and correct the key",
    Fault.OBJECT_EXISTS: "the key is taken, and nothing is ever overwritten: choose another key",
    Fault.BUCKET_NOT_FOUND: "the bucket, container or folder does not exist: create it, or correct its name",
    Fault.ACCESS_DENIED: "the store denies it: give the credentials the rights to write, read, list and delete there",
    Fault.CREDENTIALS_REFUSED: "the store does not accept the credentials: correct them in the Secret",
    Fault.NO_IDENTITY: (
        "there is no credentialsSecretRef, and the workload's cloud identity gave no credentials: "
        "set up the identity, or name a Secret with keys"
    ),
    Fault.WRONG_REGION: "the bucket is in another region than the one given: correct spec.s3.region",
    Fault.CLOCK_SKEW: "the clocks of this machine and the store differ too much: set this machine's clock",
    Fault.FULL: "the store has no room left, or a quota is used up: make room, or raise the quota",
    Fault.UNREACHABLE: "the store cannot be reached: check the endpoint, name resolution, network policies and TLS",
    Fault.BUSY: "the store is overloaded or failing: nothing to do unless it stays so",
    Fault.REFUSED: "the store refused the request: look into the store's own log",
}


class StorageError(DbtetherError):
    """A store did not do what it was asked; `message` says what, where and what next."""

    def __init__(self, fault: Fault, doing: str, where: str, detail: str = "") -> None:
        """`doing` is such as "writing", `where` such as "s3://bucket/key", `detail` a word of the store's own."""
        told = f" ({detail})" if detail else ""
        super().__init__(f"{doing} {where}: {_SENTENCES[fault]}{told}")
        self.fault = fault
        self.message = str(self)
        self._doing, self._detail = doing, detail

    def told_of(self, where: str) -> "StorageError":
        """The same of another place: for an object whose name says nothing to anybody."""
        return StorageError(self.fault, self._doing, where, self._detail)
