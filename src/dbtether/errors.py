"""The errors that decide what a reconcile does next.

DbtetherError
├── Retryable          the world is in the way for now (server away, lock held): back off and try again
├── Blocked            a person must change something: reason and message go to the status, no hot retry
│   └── InvalidSpec    the resource itself is wrong; the message names the field
└── StateError         the store refused (lock held by another process, conflict, unreadable file)

Anything else that is raised is a bug: logged with its traceback, counted, retried slowly.
No message of these errors ever holds a password, a verifier or a Secret's value.
"""


class DbtetherError(Exception):
    """Base of all errors that dbtether raises on purpose."""


class Retryable(DbtetherError):
    """Something that is expected to pass by itself; `reason` is a CamelCase word for the status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Blocked(DbtetherError):
    """A state that only a person can change; `message` says what to do next."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidSpec(Blocked):
    """A resource that breaks the API's rules; the message starts with the path of the field."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidSpec", message)


class StateError(DbtetherError):
    """The store could not do what was asked; the message says why and what to do."""
