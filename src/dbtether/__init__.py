"""PostgreSQL databases, users, backups and restores declared as Kubernetes resources."""

__version__ = "0.1.0"
