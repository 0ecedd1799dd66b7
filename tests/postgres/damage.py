"""Damage that somebody does by hand to a database or a login of ours, each with the word a plan must say of it."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql
from tests.servers.server import Server

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredDatabase
from dbtether.postgres.roles.model import DesiredLogin, role_names

TABLE, SEQUENCE = "damaged", "damaged_seq"


@dataclass(frozen=True, slots=True)
class DatabaseDamage:
    """SQL with the places db, owner, readonly, readwrite, admin; `says` stands in a purpose of the plan."""

    name: str
    sql: str
    says: str
    applies: Callable[[DesiredDatabase], bool] = lambda _: True


def _has_grants(desired: DesiredDatabase) -> bool:
    return bool(desired.grant_groups)


DATABASE_DAMAGE = (
    DatabaseDamage("group loses CONNECT", "REVOKE CONNECT ON DATABASE {db} FROM {readonly}", "Grant CONNECT"),
    DatabaseDamage(
        "PUBLIC let in again",
        "GRANT CONNECT ON DATABASE {db} TO PUBLIC",
        "from PUBLIC",
        lambda desired: desired.revoke_public_connect,
    ),
    DatabaseDamage("group may create", "GRANT CREATE ON DATABASE {db} TO {readwrite}", "Revoke CREATE on database"),
    DatabaseDamage("connection limit", "ALTER DATABASE {db} CONNECTION LIMIT 77", "connection limit"),
    DatabaseDamage("comment gone", "COMMENT ON DATABASE {db} IS NULL", "comment of database"),
    DatabaseDamage("schema closed", "REVOKE USAGE ON SCHEMA public FROM {readwrite}", "on schema public"),
    DatabaseDamage("schema too open", "GRANT CREATE ON SCHEMA public TO {readonly}", "on schema public"),
    DatabaseDamage("table closed", "REVOKE SELECT ON damaged FROM {readonly}", "table public.damaged"),
    DatabaseDamage("table too open", "GRANT DELETE ON damaged TO {readonly}", "table public.damaged"),
    DatabaseDamage("grant option", "GRANT SELECT ON damaged TO {readonly} WITH GRANT OPTION", "right to grant"),
    DatabaseDamage("sequence closed", "REVOKE ALL ON damaged_seq FROM {readwrite}", "sequence public.damaged_seq"),
    DatabaseDamage(
        "default privilege gone",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {admin} REVOKE SELECT ON TABLES FROM {readonly}",
        "tables that",
    ),
    DatabaseDamage(
        "default privilege too wide",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {admin} GRANT INSERT ON TABLES TO {readonly}",
        "tables that",
    ),
    DatabaseDamage("group may log in", "ALTER ROLE {admin} LOGIN", "Let nobody log in"),
    DatabaseDamage("owner may log in", "ALTER ROLE {owner} LOGIN", "Let nobody log in"),
    DatabaseDamage("group in group", "{as_owner}GRANT {admin} TO {readonly}", "Take "),
    DatabaseDamage(
        "grant group on a table too much", "GRANT UPDATE ON damaged TO {grants}", "table public.damaged", _has_grants
    ),
    DatabaseDamage(
        "grant group on a sequence",
        "GRANT UPDATE ON damaged_seq TO {grants}",
        "sequence public.damaged_seq",
        _has_grants,
    ),
    DatabaseDamage(
        "grant group on future tables too much",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {admin} IN SCHEMA public GRANT UPDATE ON TABLES TO {grants}",
        "tables that",
        _has_grants,
    ),
    DatabaseDamage(
        "grant group on the database",
        "GRANT CREATE ON DATABASE {db} TO {grants}",
        "Revoke CREATE on database",
        _has_grants,
    ),
    DatabaseDamage(
        "grant group may grant",
        "GRANT REFERENCES ON damaged TO {grants} WITH GRANT OPTION",
        "table public.damaged",
        _has_grants,
    ),
    DatabaseDamage("grant group may log in", "ALTER ROLE {grants} LOGIN", "Let nobody log in", _has_grants),
    DatabaseDamage("grant group inherits nothing", "ALTER ROLE {grants} NOINHERIT", "inherit", _has_grants),
    DatabaseDamage("grant group out of its group", "{as_owner}REVOKE {level} FROM {grants}", "Put role", _has_grants),
    DatabaseDamage("grant group in the admins", "{as_owner}GRANT {admin} TO {grants}", "Take ", _has_grants),
    DatabaseDamage(
        "settings gone",
        "ALTER DATABASE {db} RESET ALL",
        "Set ",
        lambda desired: bool(desired.settings),
    ),
)


@dataclass(frozen=True, slots=True)
class LoginDamage:
    """SQL with the places login, db, group, other, owner, prelude of one access of the login."""

    name: str
    sql: str
    says: str
    applies: Callable[[DesiredLogin, Group], bool] = lambda _, __: True


LOGIN_DAMAGE = (
    LoginDamage("thrown out of its group", "{as_owner}REVOKE {group} FROM {login}", "into group"),
    LoginDamage(
        "put into another group",
        "{as_owner}GRANT {other} TO {login}",
        "Take ",
        # On 16+ an admin is a plain member of the readonly group already.
        lambda _, group: group is not Group.ADMIN,
    ),
    LoginDamage("put into the owner role", "{as_admin}GRANT {owner} TO {login}", "Take "),
    LoginDamage("may grant its group", "{as_owner}GRANT {group} TO {login} WITH ADMIN OPTION", "right to grant"),
    LoginDamage("locked out", "ALTER ROLE {login} NOLOGIN", "may log in"),
    LoginDamage("inherits otherwise", "ALTER ROLE {login} {flipped}", "inherit"),
    LoginDamage("may create databases", "ALTER ROLE {login} CREATEDB", "may not create databases"),
    LoginDamage("may create roles", "ALTER ROLE {login} CREATEROLE", "may not create roles"),
    LoginDamage("connection limit", "ALTER ROLE {login} CONNECTION LIMIT 77", "connection limit"),
    LoginDamage("expired", "ALTER ROLE {login} VALID UNTIL '2001-02-03 04:05:06+07'", "valid until"),
    LoginDamage("expired since ever", "ALTER ROLE {login} VALID UNTIL '-infinity'", "valid until"),
    LoginDamage("far future", "ALTER ROLE {login} VALID UNTIL '20000-01-01'", "valid until"),
    LoginDamage("works as another", "ALTER ROLE {login} IN DATABASE {db} SET role = 'postgres'", "role of login"),
    LoginDamage("works as another everywhere", "ALTER ROLE {login} SET role = 'none'", "role of login"),
    LoginDamage("may create on the database", "GRANT CREATE ON DATABASE {db} TO {login}", "Revoke CREATE on database"),
    LoginDamage("settings gone", "ALTER ROLE {login} RESET ALL", "Set ", lambda desired, _: bool(desired.settings)),
    LoginDamage(
        "role setting gone",
        "ALTER ROLE {login} IN DATABASE {db} RESET role",
        "role of login",
        lambda _, group: group is Group.ADMIN,
    ),
)


def hurt_database(server: Server, desired: DesiredDatabase, damage: DatabaseDamage, *, acts_as_owner: bool) -> None:
    """Do the damage as the superuser, with a table and a sequence of the admins' there to be damaged."""
    names = role_names(desired.name)
    _execute(
        server,
        desired.name,
        "SET ROLE {admin}; CREATE TABLE IF NOT EXISTS public.damaged (); "
        "CREATE SEQUENCE IF NOT EXISTS public.damaged_seq; RESET ROLE; " + damage.sql,
        db=desired.name,
        owner=names.owner,
        readonly=names.groups[Group.READONLY],
        readwrite=names.groups[Group.READWRITE],
        admin=names.groups[Group.ADMIN],
        grants=desired.grant_groups[0].name if desired.grant_groups else names.owner,
        level=names.groups[desired.grant_groups[0].level if desired.grant_groups else Group.READONLY],
        as_owner=names.owner if acts_as_owner else None,
    )


def hurt_login(
    server: Server, desired: DesiredLogin, damage: LoginDamage, place: int, *, acts_as_owner: bool, inherits: bool
) -> None:
    """Do the damage to one of the login's databases as the superuser, or as whom dbtether acts as."""
    access = desired.access[place]
    names = role_names(access.database)
    others = [g for g in names.groups if g not in (access.group, Group.READONLY)] or [Group.ADMIN]
    _execute(
        server,
        access.database,
        damage.sql.replace("{flipped}", "NOINHERIT" if inherits else "INHERIT"),
        db=access.database,
        owner=names.owner,
        login=desired.name,
        group=access.role,
        other=names.groups[others[0]],
        as_owner=names.owner if acts_as_owner else None,
        as_admin=server.admin.user if acts_as_owner else None,
    )


def _execute(server: Server, database: str, text: str, **places: str | None) -> None:
    parts: dict[str, sql.Composable] = {}
    for place, name in places.items():
        if place.startswith("as_"):
            # On 16+ a superuser's GRANT would be another grantor's: do it as dbtether's own roles do.
            parts[place] = sql.SQL("SET ROLE {}; ").format(sql.Identifier(name)) if name else sql.SQL("")
        else:
            assert name is not None
            parts[place] = sql.Identifier(name)
    options = "-c search_path=public -c datestyle=ISO"
    with psycopg.connect(server.dsn(dbname=database), autocommit=True, options=options) as connection:
        connection.execute(sql.SQL(text).format(**parts))
