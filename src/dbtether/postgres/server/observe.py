"""Reads what the server is and what the admin may do."""

from psycopg.rows import dict_row

from dbtether.postgres.pool import Connection
from dbtether.postgres.server.model import ServerFacts

_SERVER = """
SELECT pg_catalog.current_setting('server_version') AS version,
       pg_catalog.current_setting('server_version_num')::int AS version_number,
       r.rolname::text AS admin, r.rolsuper AS is_superuser, r.rolcreaterole AS can_create_roles,
       r.rolcreatedb AS can_create_databases, pg_catalog.pg_is_in_recovery() AS is_in_recovery,
       pg_catalog.pg_has_role(r.oid, 'pg_signal_backend', 'USAGE') AS can_signal_backends,
       CASE WHEN pg_catalog.has_function_privilege(r.oid, 'pg_catalog.pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) ELSE '' END
         AS system_identifier,
       -- Without the right to read it there is no row, as an error would end all of this.
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries') AS preloaded_libraries
  FROM pg_catalog.pg_roles r WHERE r.rolname = session_user
"""


async def observe_server(connection: Connection) -> ServerFacts:
    """The server's facts, in one round trip. Raises psycopg.Error."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SERVER)
        row = await cursor.fetchone()
    assert row is not None, "session_user is always in pg_roles"
    row["version"] = row["version"].split()[0]
    return ServerFacts(**row)
