"""Observed facts made by hand, for pure tests."""

from typing import Any

from dbtether.postgres.databases.model import Database, new_database_acl
from dbtether.postgres.roles.model import Membership, Role
from dbtether.postgres.server.model import ServerFacts

VERIFIER = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0$" + "A" * 43 + "=:" + "B" * 43 + "="


def server(major: int, *, superuser: bool = False, **changes: Any) -> ServerFacts:
    """A server whose admin is the superuser `postgres`, or `rds` with CREATEDB and CREATEROLE."""
    values: dict[str, Any] = {
        "version": f"{major}.1",
        "version_number": major * 10000 + 1,
        "admin": "postgres" if superuser else "rds",
        "is_superuser": superuser,
        "can_create_roles": True,
        "can_create_databases": True,
        "can_signal_backends": superuser,
        "is_in_recovery": False,
        "system_identifier": "7",
    }
    return ServerFacts(**{**values, **changes})


def role(name: str, **changes: Any) -> Role:
    """A plain NOLOGIN role."""
    values: dict[str, Any] = {
        "name": name,
        "oid": 4711,
        "can_login": False,
        "inherits": True,
        "is_superuser": False,
        "can_create_roles": False,
        "can_create_databases": False,
        "can_replicate": False,
        "bypasses_rls": False,
        "connection_limit": -1,
        "valid_until": None,
        "comment": None,
        "verifier": None,
    }
    return Role(**{**values, **changes})


def edge(role: str, member: str, grantor: str, options: str = "") -> Membership:
    """A membership with the options of `options`: A(dmin), I(nherit), S(et)."""
    return Membership(role, member, grantor, "A" in options, "I" in options, "S" in options)


def database(name: str, owner: str, **changes: Any) -> Database:
    """A database as CREATE DATABASE leaves it."""
    values: dict[str, Any] = {
        "name": name,
        "oid": 4712,
        "owner": owner,
        "encoding": "UTF8",
        "lc_collate": "C",
        "lc_ctype": "C",
        "locale_provider": "libc",
        "icu_locale": None,
        "is_template": False,
        "allows_connections": True,
        "connection_limit": -1,
        "acl": new_database_acl(owner),
        "comment": None,
    }
    return Database(**{**values, **changes})
