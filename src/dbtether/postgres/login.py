"""Logging in as a user, to be sure that what the Secret holds works before anyone is told Ready."""

from dataclasses import dataclass, replace
from enum import StrEnum

import psycopg

from dbtether.postgres.connection import ConnectParameters, connect
from dbtether.postgres.errors import ConnectError, primary_message


class LoginResult(StrEnum):
    """What a login attempt showed."""

    WORKS = "Works"
    WRONG_PASSWORD = "WrongPassword"  # noqa: S105 - a name, not a password
    WRONG_ROLE = "WrongRole"
    REFUSED = "Refused"
    UNREACHABLE = "Unreachable"


@dataclass(frozen=True, slots=True)
class Login:
    """The outcome of a login attempt and, where it failed, the server's sentence."""

    result: LoginResult
    message: str = ""
    sqlstate: str | None = None


_REFUSED_LOGIN = "28P01"


async def try_login(parameters: ConnectParameters, user: str, password: str, database: str, works_as: str) -> Login:
    """Whether `user` can log in to `database` and then works as the role `works_as`. Never raises.

    A `role` setting that cannot be applied leaves the session as the login itself, with a warning in the
    server's log only, so `current_user` is asked.
    """
    own = replace(parameters, user=user, password=password)
    try:
        connection = await connect(own, database, "dbtether: login check", admin=False)
    except ConnectError as error:
        if error.sqlstate is None:
            return Login(LoginResult.UNREACHABLE, error.message)
        wrong = error.sqlstate == _REFUSED_LOGIN
        result = LoginResult.WRONG_PASSWORD if wrong else LoginResult.REFUSED
        return Login(result, error.message, error.sqlstate)
    try:
        cursor = await connection.execute("SELECT current_user::text")
        row = await cursor.fetchone()
    except psycopg.Error as error:
        return Login(LoginResult.UNREACHABLE, primary_message(error), error.sqlstate)
    finally:
        await connection.close()
    current = str(row[0]) if row else ""
    if current == works_as:
        return Login(LoginResult.WORKS)
    return Login(LoginResult.WRONG_ROLE, f"works as {current}, not as {works_as}")
