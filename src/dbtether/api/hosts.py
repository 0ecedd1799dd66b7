"""Checks of a server's address and of an object store's URL. Pure: nothing is looked up."""

import ipaddress
import re
from urllib.parse import urlsplit

_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PORT = re.compile(r":\d+$")


def is_ipv6(endpoint: str) -> bool:
    """Whether the endpoint is an IPv6 address, which URLs write in brackets."""
    try:
        return ipaddress.ip_address(endpoint).version == 6
    except ValueError:
        return False


def endpoint_problem(text: str) -> str | None:
    """What is wrong with an endpoint; it is one host: a name, an IPv4 or an IPv6 address."""
    if "://" in text or "=" in text or "@" in text:
        return (
            "is a connection string; give the host alone, the port in spec.port and the login in credentialsSecretRef"
        )
    if "," in text:
        return "names several hosts; give the one that accepts writes"
    if text.startswith("/"):
        return "is a path; a server is reached by its host name or address"
    if text.startswith("["):
        return "has brackets; write an IPv6 address without them"
    if is_ipv6(text) and "%" not in text:
        return None
    if _PORT.search(text):
        return "has a port; give the host alone and the port in spec.port"
    if re.fullmatch(r"[0-9.]+", text):
        return None if _is_ipv4(text) else "is not an IPv4 address"
    labels = text.removesuffix(".").split(".")
    if not all(_HOST_LABEL.fullmatch(label) for label in labels):
        return "is not a host name, an IPv4 or an IPv6 address"
    return None


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def url_problem(text: str) -> str | None:
    """What is wrong with an object store's URL."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("http", "https"):
        return "is not a URL that starts with https:// or http://"
    host = rest.split("/", 1)[0]
    if "@" in host:
        return "holds credentials; put them into the Secret of credentialsSecretRef"
    if not host or any(character.isspace() for character in rest) or not _names_a_host(text):
        return "is not a URL with a host"
    return None


def _names_a_host(url: str) -> bool:
    """Whether host and port can be told apart; a bracket left open or a port too high is found only then."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
