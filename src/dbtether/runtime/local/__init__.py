"""The local store: a state directory instead of a Kubernetes cluster."""

from dbtether.runtime.local.jobs import LocalJobs
from dbtether.runtime.local.store import LocalStore, StateMissing

__all__ = ["LocalJobs", "LocalStore", "StateMissing"]
