"""Which kubeconfigs are understood, and what is said about those that are not."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from dbtether.runtime.kube.connection import (
    Anonymous,
    ClientCertificate,
    Connection,
    ExecPlugin,
    Pem,
    Token,
    TokenFile,
)
from dbtether.runtime.kube.errors import KubeconfigError
from dbtether.runtime.kube.kubeconfig import find_connection, read_kubeconfig

SECRET = "s3cret-value"


def config(user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }


def write(path: Path, document: object) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def read(tmp_path: Path, document: object) -> Connection:
    return read_kubeconfig([write(tmp_path / "config", document)], {})


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_context_names_server_and_namespace(tmp_path: Path) -> None:
    connection = read(tmp_path, config())
    assert (connection.server, connection.namespace) == ("https://api.example:6443", "team")
    assert connection.identity == Anonymous()


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        pytest.param({"token": SECRET}, Token(SECRET), id="a token"),
        pytest.param(
            {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1beta1",
                    "command": "login",
                    "args": ["--now"],
                    "env": [{"name": "A", "value": "b"}],
                    "installHint": "install login",
                    "provideClusterInfo": True,
                }
            },
            ExecPlugin(
                "login", ("--now",), (("A", "b"),), "client.authentication.k8s.io/v1beta1", "install login", True
            ),
            id="an exec plugin of v1beta1",
        ),
    ],
)
def test_an_identity_is_read(tmp_path: Path, user: dict[str, Any], identity: object) -> None:
    assert read(tmp_path, config(user)).identity == identity


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    user = {"tokenFile": "my/token", "client-certificate": "tls.crt", "client-key": "/keys/tls.key"}
    connection = read(tmp_path, config(user, {"certificate-authority": "ca.crt"}))
    assert connection.identity == TokenFile(tmp_path / "my/token")
    assert connection.certificate_authority == Pem(path=tmp_path / "ca.crt")
    assert connection.client_certificate == ClientCertificate(
        Pem(path=tmp_path / "tls.crt"), Pem(path=Path("/keys/tls.key"))
    )


def test_inline_data_goes_before_files(tmp_path: Path) -> None:
    cluster = {"certificate-authority": "ca.crt", "certificate-authority-data": encoded("PEM")}
    assert read(tmp_path, config(cluster=cluster)).certificate_authority == Pem(b"PEM")


def test_several_files_are_merged_and_the_first_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "first", {"current-context": "here", "users": [{"name": "u", "user": {"token": "1st"}}]})
    second = write(tmp_path / "second", config({"token": "2nd"}))
    connection = find_connection({"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"})
    assert connection.identity == Token("1st")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(config({"username": "me", "password": SECRET}), "username and password", id="basic"),
        pytest.param(config({"auth-provider": {"name": "gcp"}}), "use an exec plugin", id="an auth-provider"),
        pytest.param(config({"as": "somebody"}), "impersonation", id="impersonation"),
        pytest.param(config({"client-certificate": "x"}), "go together", id="a certificate without its key"),
        pytest.param(
            config({"client-key-data": SECRET}), "client-key-data is not base64", id="data that is not base64"
        ),
        pytest.param(
            config({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}),
            "apiVersion is neither",
            id="an exec plugin of v1alpha1",
        ),
        pytest.param(
            config({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}), "command is missing", id="no command"
        ),
        pytest.param(config(cluster={"server": "api.example"}), "not an http or https URL", id="no URL"),
        pytest.param(config(cluster={"proxy-url": "socks5://x"}), "only http and https", id="a SOCKS proxy"),
        pytest.param({**config(), "current-context": ""}, "no current-context", id="no current context"),
        pytest.param({**config(), "clusters": []}, "no cluster named 'c'", id="a cluster that is not there"),
        pytest.param({**config(), "users": [{"name": "u", "user": [SECRET]}]}, "not a mapping", id="a list as user"),
        pytest.param([SECRET], "not a mapping", id="a list"),
        pytest.param(config({"token": 5}), "token is not a string", id="a number as token"),
    ],
)
def test_what_cannot_be_used_is_named_without_values(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message) as refused:
        read(tmp_path, document)
    assert SECRET not in str(refused.value)


def test_broken_yaml_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(f"token: '{SECRET}\n  x: [")
    with pytest.raises(KubeconfigError, match="not valid YAML") as refused:
        read_kubeconfig([path], {})
    assert SECRET not in str(refused.value)


def test_no_repr_shows_a_token(tmp_path: Path) -> None:
    assert SECRET not in repr(read(tmp_path, config({"token": SECRET})))


def service_account(tmp_path: Path) -> Path:
    folder = tmp_path / "account"
    folder.mkdir()
    for name in ("token", "ca.crt", "namespace"):
        (folder / name).write_text(f"{name}\n")
    return folder


def test_a_pod_talks_to_its_own_cluster(tmp_path: Path) -> None:
    folder = service_account(tmp_path)
    environment = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    connection = find_connection(environment, service_account=folder)
    assert connection.server == "https://[fd00::1]:443"
    assert connection.namespace == "namespace"
    assert connection.identity == TokenFile(folder / "token")
    assert connection.certificate_authority == Pem(path=folder / "ca.crt")


def test_a_kubeconfig_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="no kubeconfig at"):
        find_connection({"KUBECONFIG": str(tmp_path / "none")}, service_account=service_account(tmp_path))


def test_without_any_cluster_all_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="no cluster to talk to"):
        find_connection({"HOME": str(tmp_path)}, service_account=tmp_path / "none")
