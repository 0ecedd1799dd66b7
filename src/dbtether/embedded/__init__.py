"""A PostgreSQL server of one's own, from a package: for the demo and for laptops, never for production."""

from dbtether.embedded.process import EmbeddedServerError
from dbtether.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "EmbeddedServerError"]
