"""The TLS side of a connection: made once, made anew when a file behind it changed."""

import os
import ssl
import tempfile
from pathlib import Path

from dbtether.runtime.kube.connection import ClientCertificate, Connection, Pem
from dbtether.runtime.kube.errors import KubeconfigError


class Tls:
    """Gives the TLS context of a connection as its files are now."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_tls = connection.server.startswith("https://")
        self._known: object = None
        self._context: ssl.SSLContext | None = None

    def context(self, issued: ClientCertificate | None = None) -> ssl.SSLContext | None:
        """The context with the plugin-issued certificate, else the kubeconfig's; None for plain HTTP.

        Raises KubeconfigError when a file is missing or is not PEM.
        """
        if not self._is_tls:
            return None
        certificate = issued or self._connection.client_certificate
        authority = self._connection.certificate_authority
        files = [authority, certificate.certificate, certificate.key] if certificate else [authority]
        known = (issued, tuple(_state_of(pem) for pem in files))
        if self._context is None or known != self._known:
            self._context = self._make(certificate)
            self._known = known
        return self._context

    def _make(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        connection = self._connection
        try:
            authority = connection.certificate_authority
            # With an authority of its own, the system's are not trusted.
            context = ssl.create_default_context(cadata=_read(authority).decode("ascii") if authority else None)
            if connection.insecure_skip_tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if certificate:
                _load_chain(context, certificate)
        except OSError as error:
            # ssl.SSLError is one: its text names an error of OpenSSL and no content.
            raise KubeconfigError(f"{connection.source}: a certificate cannot be used: {error}") from None
        except ValueError:
            raise KubeconfigError(f"{connection.source}: a certificate is not PEM") from None
        return context


def _load_chain(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """OpenSSL takes certificate and key from a file only; ours is private and gone right after."""
    content = _read(certificate.certificate) + b"\n" + _read(certificate.key)
    # mkstemp makes it readable by us alone.
    handle, name = tempfile.mkstemp(prefix="dbtether-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()


def _read(pem: Pem) -> bytes:
    return pem.path.read_bytes() if pem.path else pem.content


def _state_of(pem: Pem | None) -> object:
    if pem is None or pem.path is None:
        return None
    try:
        found = pem.path.stat()
    except OSError:
        return "missing"
    # The kubelet swaps a symlink: another file, so another inode.
    return (found.st_mtime_ns, found.st_ino, found.st_size)
