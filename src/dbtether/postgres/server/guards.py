"""What stops every plan on a server: rules that databases and logins share."""

from dbtether.errors import Blocked
from dbtether.postgres.guards import Verdict
from dbtether.postgres.server.cures import attribute
from dbtether.postgres.server.model import ServerFacts


def read_only_server(server: ServerFacts) -> Verdict:
    """A standby takes no changes; a failover promotes it."""
    if not server.is_in_recovery:
        return None
    return Blocked("ServerReadOnly", "The server is a standby (in recovery): point spec.endpoint at the primary")


def no_createrole(server: ServerFacts, what: str) -> Verdict:
    """The complaint about an admin that cannot create `what`; None when it can."""
    if server.is_superuser or server.can_create_roles:
        return None
    return Blocked(
        "MissingPrivileges",
        f"The admin cannot create {what}: a DBA must run {attribute(server.admin, 'CREATEROLE')}",
    )
