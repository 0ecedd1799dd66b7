"""The statements that a DBA is asked to run for the admin, in one wording wherever they are shown. Pure."""

from dbtether.postgres.guards import quoted


def attribute(admin: str, name: str) -> str:
    """Gives the admin CREATEROLE or CREATEDB."""
    return f"ALTER ROLE {quoted(admin)} {name}"


def grant_of_owner(owner: str, admin: str) -> str:
    """Lets the admin act for a database's owner role, without that role's rights being in force always (16+)."""
    return f"GRANT {quoted(owner)} TO {quoted(admin)} WITH ADMIN TRUE, INHERIT FALSE, SET TRUE"


def grant_of_role(role: str, holder: str) -> str:
    """Lets `holder` alter, grant and drop a role, and nothing else (16+)."""
    return f"GRANT {quoted(role)} TO {quoted(holder)} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"


def grant_of_signal(admin: str) -> str:
    """Lets the admin end sessions of logins that it has no ADMIN on."""
    return f"GRANT pg_signal_backend TO {quoted(admin)}"
