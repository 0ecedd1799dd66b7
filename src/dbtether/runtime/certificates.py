"""A CA and a serving certificate of our own, for the webhook where cert-manager is absent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=365)
# Clocks of nodes differ.
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """A certificate with its key and the CA that clients are to trust, all PEM."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def make_serving_certificate(names: Sequence[str], now: datetime, lifetime: timedelta = LIFETIME) -> ServingCertificate:
    """A new CA and a certificate signed by it for these DNS names; the CA's key is thrown away."""
    ends = now + lifetime
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dbtether webhook CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _builder(subject, ca_name, key.public_key(), now, ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        # Tells this CA from an earlier one of the same name in a bundle.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return ServingCertificate(
        ca=ca.public_bytes(serialization.Encoding.PEM),
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def renew_before(lifetime: timedelta) -> timedelta:
    """How long before its end a certificate is renewed: sixty days of a year."""
    return lifetime / 6


def must_be_renewed(certificate: bytes, names: Sequence[str], now: datetime, lifetime: timedelta = LIFETIME) -> bool:
    """Whether a certificate is about to end, is for other names, or cannot be read."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
        covered = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return True
    if set(names) - set(covered.get_values_for_type(x509.DNSName)):
        return True
    return found.not_valid_after_utc - renew_before(lifetime) <= now


def bundle_of(ca: bytes, earlier: bytes, now: datetime) -> bytes:
    """The CA, and before it those of an earlier bundle that have not ended, the latest two at most.

    Who is asked with a renewed certificate is trusted at once, who still serves the earlier one is too.
    """
    try:
        known = x509.load_pem_x509_certificates(earlier)
    except ValueError:
        known = []
    alive = [one.public_bytes(serialization.Encoding.PEM) for one in known if one.not_valid_after_utc > now]
    return b"".join([*[one for one in alive if one != ca][-2:], ca])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(ends)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
