"""The local store: a state directory instead of a Kubernetes cluster."""

from dbtether.runtime.local.store import LocalStore, StateMissing

__all__ = ["LocalStore", "StateMissing"]
