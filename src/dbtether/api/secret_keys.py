"""What a credentials Secret contains: key names by template, values, connection URLs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from dbtether.api.hosts import is_ipv6


class SecretTemplate(StrEnum):
    """How the keys of a credentials Secret are named."""

    RAW = "raw"
    DB = "DB"
    DATABASE = "DATABASE"
    POSTGRES = "POSTGRES"
    CUSTOM = "custom"


class OnConflict(StrEnum):
    """What is done about a Secret that exists and is not ours."""

    FAIL = "Fail"
    ADOPT = "Adopt"
    MERGE = "Merge"


TEMPLATE_KEYS: Mapping[SecretTemplate, Mapping[str, str]] = {
    SecretTemplate.RAW: {
        "host": "host",
        "port": "port",
        "database": "database",
        "user": "user",
        "password": "password",
    },
    SecretTemplate.DB: {
        "host": "DB_HOST",
        "port": "DB_PORT",
        "database": "DB_NAME",
        "user": "DB_USER",
        "password": "DB_PASSWORD",
    },
    SecretTemplate.DATABASE: {
        "host": "DATABASE_HOST",
        "port": "DATABASE_PORT",
        "database": "DATABASE_NAME",
        "user": "DATABASE_USER",
        "password": "DATABASE_PASSWORD",
    },
    SecretTemplate.POSTGRES: {
        "host": "POSTGRES_HOST",
        "port": "POSTGRES_PORT",
        "database": "POSTGRES_DATABASE",
        "user": "POSTGRES_USER",
        "password": "POSTGRES_PASSWORD",
    },
}
EXTENDED_KEYS = ("uri", "jdbcUri", "sslmode", "ca.crt")


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Everything that a client needs to log in; its repr never shows the password."""

    host: str
    port: int
    database: str
    user: str
    password: str
    databases: tuple[str, ...] = ()
    """PostgreSQL names of all databases of the login, when one Secret serves several."""
    sslmode: str = "require"
    ca: bytes | None = None
    """PEM of the CA that signed the server's certificate."""

    def __repr__(self) -> str:
        return f"Login({self.user!r} on {self.host}:{self.port}/{self.database})"


def keys_of(template: SecretTemplate, custom: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """The key of each of host, port, database, user and password."""
    return (custom or {}) if template is SecretTemplate.CUSTOM else TEMPLATE_KEYS[template]


def credentials_data(
    login: Login,
    template: SecretTemplate,
    *,
    custom: Mapping[str, str] | None = None,
    extended: bool = False,
) -> dict[str, bytes]:
    """The data of a credentials Secret, by key."""
    values = {
        "host": login.host,
        "port": str(login.port),
        "database": login.database,
        "user": login.user,
        "password": login.password,
    }
    texts = {key: values[name] for name, key in keys_of(template, custom).items()}
    if template is SecretTemplate.RAW and len(login.databases) > 1:
        texts["databases"] = ",".join(login.databases)
    if extended:
        texts |= {"uri": uri(login), "jdbcUri": jdbc_uri(login), "sslmode": login.sslmode}
    data = {key: text.encode() for key, text in texts.items()}
    if extended and login.ca is not None:
        data["ca.crt"] = login.ca
    return data


def uri(login: Login) -> str:
    """libpq's connection URI (documentation, 34.1.1.2); every part percent-encoded as RFC 3986 wants."""
    return (
        f"postgresql://{_encoded(login.user)}:{_encoded(login.password)}@{_authority(login)}"
        f"/{_encoded(login.database)}?sslmode={_encoded(login.sslmode)}"
    )


def jdbc_uri(login: Login) -> str:
    """pgjdbc's URL; user and password are parameters, since it reads none before the host."""
    parameters: Sequence[tuple[str, str]] = (
        ("user", login.user),
        ("password", login.password),
        ("sslmode", login.sslmode),
    )
    query = "&".join(f"{name}={_encoded(value)}" for name, value in parameters)
    return f"jdbc:postgresql://{_authority(login)}/{_encoded(login.database)}?{query}"


def _encoded(text: str) -> str:
    # quote_plus would turn a blank into +, which libpq takes for a plus sign.
    return quote(text, safe="")


def _authority(login: Login) -> str:
    host = f"[{login.host}]" if is_ipv6(login.host) else login.host
    return f"{host}:{login.port}"
