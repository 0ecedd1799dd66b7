"""What can go wrong between us and an API server.

StateError                     (dbtether.errors: the loop backs off and tries again)
├── KubeconfigError            no usable kubeconfig, credentials or certificates
├── NotLeader                  another replica leads, so this one must not write
└── ApiError                   the API server refused, or gave no answer
    ├── Unreachable            no answer: connection refused, cut, timed out, TLS failed
    ├── BadRequest             400
    ├── Unauthorized           401
    ├── Forbidden              403: a rule is missing in the RBAC
    ├── NotFound               404
    ├── Conflict               409: somebody else wrote in between
    ├── AlreadyExists          409: the name is taken
    ├── Gone                   410: the version asked for is compacted away
    ├── Invalid                422: the object breaks a rule of its schema
    ├── TooManyRequests        429
    └── ServerFailure          5xx

An ApiError carries the API server's `Status`. The server quotes values in its messages, so whoever
writes Secrets builds its errors with `without_message`.
"""

from typing import ClassVar

import msgspec

from dbtether.errors import StateError


class StatusCause(msgspec.Struct, frozen=True):
    """One finding of a Status."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True):
    """What a Status says apart from its message."""

    name: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[StatusCause, ...] = ()
    retryAfterSeconds: int = 0  # noqa: N815 - the API's own name


class Status(msgspec.Struct, frozen=True):
    """Kubernetes' `Status` object (API concepts, "Kubernetes API response Status")."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


class KubeconfigError(StateError):
    """There is no usable way to an API server; the message names the file and the entry."""


class NotLeader(StateError):
    """This replica does not hold the lease (any more), so it must not write."""


class ApiError(StateError):
    """The API server did not do what was asked; `status` is its own word for it."""

    codes: ClassVar[tuple[int, ...]] = ()
    reasons: ClassVar[tuple[str, ...]] = ()

    def __init__(self, status: Status, what: str) -> None:
        message = f": {status.message}" if status.message else ""
        super().__init__(f"{what}: {status.code} {status.reason or type(self).__name__}{message}")
        self.status = status
        self.what = what

    def without_message(self) -> "ApiError":
        """The same error with the names of fields but none of the server's sentences."""
        causes = self.status.details.causes if self.status.details else ()
        fields = ", ".join(sorted({cause.field for cause in causes if cause.field}))
        return type(self)(Status(self.status.code, self.status.reason, fields), self.what)


class Unreachable(ApiError):
    """No answer came; whether the server did what was asked is unknown."""

    def __init__(self, status: Status, what: str) -> None:
        StateError.__init__(self, f"{what}: {status.message}")
        self.status = status
        self.what = what


class BadRequest(ApiError):
    """The server does not understand the request."""

    codes = (400,)


class Unauthorized(ApiError):
    """The credentials are not accepted."""

    codes = (401,)


class Forbidden(ApiError):
    """The credentials are good, but RBAC (or an admission plugin) does not allow this."""

    codes = (403,)


class NotFound(ApiError):
    """There is no such object, or no such kind."""

    codes = (404,)


class Conflict(ApiError):
    """The object has another version or uid than the writer saw."""

    codes = (409,)


class AlreadyExists(ApiError):
    """The name is taken."""

    reasons = ("AlreadyExists",)


class Gone(ApiError):
    """The version is older than what the server keeps (API concepts, "410 Gone responses")."""

    codes = (410,)
    reasons = ("Expired", "Gone")


class Invalid(ApiError):
    """The object breaks a rule of its schema."""

    codes = (422,)


class TooManyRequests(ApiError):
    """The server asks for patience."""

    codes = (429,)


class ServerFailure(ApiError):
    """Something is wrong on the server's side."""


_BY_REASON: dict[str, type[ApiError]] = {reason: kind for kind in (AlreadyExists, Gone) for reason in kind.reasons}
_BY_CODE: dict[int, type[ApiError]] = {
    code: kind
    for kind in (BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Gone, Invalid, TooManyRequests)
    for code in kind.codes
}


def api_error(status: Status, what: str) -> ApiError:
    """The error for a Status; the reason tells AlreadyExists from Conflict, which share 409."""
    kind = _BY_REASON.get(status.reason) or _BY_CODE.get(status.code)
    if kind is None:
        kind = ServerFailure if status.code >= 500 else ApiError
    return kind(status, what)


def unreachable(what: str, why: str) -> Unreachable:
    """The error for an answer that never came."""
    return Unreachable(Status(reason="Unreachable", message=why), what)


def read_status(code: int, body: bytes) -> Status:
    """The Status in the body of an answer; a proxy's HTML page becomes one without a message."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Status(code=code)
    return Status(code, status.reason, status.message, status.details)
