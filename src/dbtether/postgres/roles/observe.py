"""Reads roles, their memberships and their settings from the catalogs all databases share."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dbtether.postgres.grants.acl import AclItem
from dbtether.postgres.roles.model import DatabasePrivileges, Dependents, Membership, Role

ROLES = """
SELECT r.rolname::text AS name, r.oid::bigint AS oid, r.rolcanlogin AS can_login, r.rolinherit AS inherits,
       r.rolsuper AS is_superuser, r.rolcreaterole AS can_create_roles, r.rolcreatedb AS can_create_databases,
       r.rolreplication AS can_replicate, r.rolbypassrls AS bypasses_rls, r.rolconnlimit AS connection_limit,
       CASE WHEN r.rolvaliduntil < 'infinity'
            THEN greatest(least(r.rolvaliduntil, '9999-12-30 UTC'), '0001-01-03 UTC') END AS valid_until,
       d.description AS comment, {verifier} AS verifier
  FROM pg_catalog.pg_roles r
  LEFT JOIN pg_catalog.pg_shdescription d
    ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
 WHERE r.rolname = ANY(%s)
"""
# Only a superuser may read pg_authid.
NO_VERIFIER = "NULL::text"
VERIFIER = "(SELECT a.rolpassword FROM pg_catalog.pg_authid a WHERE a.oid = r.oid)"

# One index scan each: an OR over the three would read the whole of pg_auth_members.
MEMBERSHIPS = """
WITH named AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ANY(%s)),
     edge AS (
  SELECT m.* FROM pg_catalog.pg_auth_members m JOIN named ON m.roleid = named.oid
  UNION SELECT m.* FROM pg_catalog.pg_auth_members m JOIN named ON m.member = named.oid
  UNION SELECT m.* FROM pg_catalog.pg_auth_members m JOIN named ON m.grantor = named.oid
)
SELECT g.rolname::text AS role, u.rolname::text AS member, pg_catalog.pg_get_userbyid(m.grantor)::text AS grantor,
       m.admin_option, {options}
  FROM edge m
  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
  JOIN pg_catalog.pg_roles u ON u.oid = m.member
 ORDER BY 1, 2, 3
"""
OPTIONS_16 = "m.inherit_option, m.set_option"
OPTIONS_15 = "u.rolinherit AS inherit_option, true AS set_option"

SETTINGS = """
SELECT r.rolname::text AS role, coalesce(d.datname::text, '') AS database, s.setconfig AS settings
  FROM pg_catalog.pg_db_role_setting s
  JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
 WHERE r.rolname = ANY(%s)
"""

# By pg_shdepend's index: the privileges of a few logins, not those of all databases. A run's login has some, too.
DATABASE_PRIVILEGES = """
SELECT r.rolname::text AS role, d.datname::text AS database, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       x.privilege_type::text AS privilege, x.is_grantable AS grantable,
       pg_catalog.pg_get_userbyid(x.grantor)::text AS grantor
  FROM pg_catalog.pg_roles r
  JOIN pg_catalog.pg_shdepend s ON s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid
   AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.dbid = 0 AND s.deptype = 'a'
  JOIN pg_catalog.pg_database d ON d.oid = s.objid
 CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) x
 WHERE r.rolname = ANY(%s) AND r.rolname !~ '^dbtether_(?!run_)' AND x.grantee = r.oid
 ORDER BY 1, 2, 4, 6
"""

DEPENDENTS = """
SELECT coalesce(d.datname::text, '') AS database, s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
         AS is_database, s.deptype = 'o' AS is_owned, pg_catalog.count(*) AS objects,
       pg_catalog.min(o.datname::text) AS owned_database
  FROM pg_catalog.pg_shdepend s
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
  LEFT JOIN pg_catalog.pg_database o
    ON s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND o.oid = s.objid AND s.deptype = 'o'
 WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
   AND s.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s)
   AND s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass
 GROUP BY 1, 2, 3, o.oid
"""
# By itself, or by the role that owns it and that the owner role is in; not what has an owner role of its own.
DATABASES_OF_OWNER = """
SELECT d.datname::text FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r
    ON pg_catalog.pg_has_role(r.oid, d.datdba, 'USAGE')
 WHERE r.rolname = %s AND (d.datdba = r.oid OR NOT EXISTS (
    SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = 'dbtether_' || d.datname || '_owner')) ORDER BY 1
"""
# Members of these read and write the server's files or run its programs, whatever their own attributes say.
REACHED = """
SELECT g.rolname::text AS role,
       g.rolsuper OR g.rolcreaterole OR g.rolreplication OR g.rolbypassrls OR g.rolname = session_user
         OR g.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
         AS is_powerful
  FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_roles g ON g.oid <> r.oid
   AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')
 WHERE r.rolname = %s ORDER BY 1
"""
SESSIONS = "SELECT pg_catalog.count(*) AS sessions FROM pg_catalog.pg_stat_activity WHERE usename = %s"


# A session outlives the right to connect.
STRAY_SESSIONS = """
SELECT DISTINCT usename::text FROM pg_catalog.pg_stat_activity
 WHERE usename = ANY(%s) AND NOT pg_catalog.has_database_privilege(usesysid, datid, 'CONNECT')
"""


def roles_from_rows(
    roles: Iterable[Mapping[str, Any]],
    memberships: Sequence[Membership],
    settings: Iterable[Mapping[str, Any]],
    privileges: Iterable[Mapping[str, Any]] = (),
    strays: Collection[str] = (),
) -> dict[str, Role]:
    """The roles by name, each with its memberships, members, settings and privileges on databases.

    `strays` names those with sessions where they may not be.
    """
    role_settings: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for row in settings:
        role_settings[row["role"]][row["database"]] = tuple(row["settings"] or ())
    on_databases: dict[str, dict[str, list[AclItem]]] = defaultdict(lambda: defaultdict(list))
    owners: dict[str, str] = {}
    for row in privileges:
        item = AclItem(row["role"], row["privilege"], row["grantable"], row["grantor"])
        on_databases[row["role"]][row["database"]].append(item)
        owners[row["database"]] = row["owner"]
    member_of: dict[str, list[Membership]] = defaultdict(list)
    members: dict[str, list[Membership]] = defaultdict(list)
    granted: dict[str, list[Membership]] = defaultdict(list)
    for membership in memberships:
        member_of[membership.member].append(membership)
        members[membership.role].append(membership)
        granted[membership.grantor].append(membership)
    return {
        row["name"]: Role(
            **row,
            settings=role_settings[row["name"]],
            on_databases=tuple(
                DatabasePrivileges(database, owners[database], tuple(items))
                for database, items in sorted(on_databases[row["name"]].items())
            ),
            memberships=tuple(member_of[row["name"]]),
            members=tuple(members[row["name"]]),
            granted=tuple(granted[row["name"]]),
            has_stray_sessions=row["name"] in strays,
        )
        for row in roles
    }


def dependents_from_rows(rows: Iterable[Mapping[str, Any]], sessions: int) -> Dependents:
    """What a role owns and was granted, counted by database."""
    owned: dict[str, int] = defaultdict(int)
    granted: dict[str, int] = defaultdict(int)
    databases: set[str] = set()
    for row in rows:
        if row["owned_database"]:
            databases.add(row["owned_database"])
        target = owned if row["is_owned"] else granted
        target[row["database"]] += row["objects"]
    return Dependents(dict(owned), dict(granted), tuple(sorted(databases)), sessions)
