"""CustomResourceDefinitions generated from the models of `api`; nothing here talks to a cluster."""

from dbtether.crds.definitions import crds, definition

__all__ = ["crds", "definition"]
