"""What a credentials Secret contains."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtether.api.secret_keys import Login, SecretTemplate, credentials_data, jdbc_uri, uri

LOGIN = Login("db.example.com", 5432, "my_app", "my-app", "s3cret")
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("template", "keys"),
    [
        (SecretTemplate.RAW, ["host", "port", "database", "user", "password"]),
        (SecretTemplate.DB, ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"]),
        (
            SecretTemplate.DATABASE,
            ["DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_USER", "DATABASE_PASSWORD"],
        ),
        (
            SecretTemplate.POSTGRES,
            ["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DATABASE", "POSTGRES_USER", "POSTGRES_PASSWORD"],
        ),
    ],
)
def test_a_template_names_the_five_values(template: SecretTemplate, keys: list[str]) -> None:
    values = [b"db.example.com", b"5432", b"my_app", b"my-app", b"s3cret"]
    assert credentials_data(LOGIN, template) == dict(zip(keys, values, strict=True))


def test_custom_keys_are_the_users_own() -> None:
    keys = {"host": "H", "port": "P", "database": "D", "user": "U", "password": "W"}
    data = credentials_data(LOGIN, SecretTemplate.CUSTOM, custom=keys)
    assert data == {"H": b"db.example.com", "P": b"5432", "D": b"my_app", "U": b"my-app", "W": b"s3cret"}


def test_raw_lists_the_databases_when_there_are_several() -> None:
    several = Login("h", 1, "a", "u", "p", databases=("a", "b"))
    assert credentials_data(several, SecretTemplate.RAW)["databases"] == b"a,b"
    assert "databases" not in credentials_data(several, SecretTemplate.DB)
    assert "databases" not in credentials_data(Login("h", 1, "a", "u", "p", ("a",)), SecretTemplate.RAW)


def test_extended_adds_urls_mode_and_ca() -> None:
    login = Login("h", 1, "d", "u", "p", sslmode="verify-full", ca=b"PEM")
    data = credentials_data(login, SecretTemplate.RAW, extended=True)
    assert data["uri"] == b"postgresql://u:p@h:1/d?sslmode=verify-full"
    assert data["jdbcUri"] == b"jdbc:postgresql://h:1/d?user=u&password=p&sslmode=verify-full"
    assert data["sslmode"] == b"verify-full"
    assert data["ca.crt"] == b"PEM"
    assert "ca.crt" not in credentials_data(LOGIN, SecretTemplate.RAW, extended=True)


def test_special_characters_are_percent_encoded_and_ipv6_gets_brackets() -> None:
    login = Login("2001:db8::1", 5432, "a/b c", "u@x", "p:?#[]+% ~")
    assert uri(login) == ("postgresql://u%40x:p%3A%3F%23%5B%5D%2B%25%20~@[2001:db8::1]:5432/a%2Fb%20c?sslmode=require")


@settings(deadline=None)
@given(texts, texts, texts)
def test_any_login_comes_back_from_its_urls(database: str, user: str, password: str) -> None:
    login = Login("::1", 5432, database, user, password)
    parts = urlsplit(uri(login))
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.hostname, parts.port, unquote(parts.path[1:])) == ("::1", 5432, database)
    query = parse_qs(urlsplit(jdbc_uri(login).removeprefix("jdbc:")).query)
    assert query == {"user": [user], "password": [password], "sslmode": ["require"]}


def test_a_logins_repr_hides_the_password() -> None:
    assert "s3cret" not in repr(LOGIN)
