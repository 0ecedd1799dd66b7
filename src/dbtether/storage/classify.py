"""From the text of a cloud store's error to our fault. Pure.

obstore gives one error type for most of what can happen; the store's code and the HTTP status are in its text.
"""

import re

from dbtether.storage.errors import Fault

_CODES = {
    Fault.BUCKET_NOT_FOUND: ("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"),
    Fault.ACCESS_DENIED: (
        *("AccessDenied", "AllAccessDisabled", "AccountProblem", "ObjectLocked", "InvalidBucketState"),
        *("AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions"),
        *("BlobImmutableDueToPolicy", "AccountIsDisabled", "Forbidden", "forbidden"),
    ),
    Fault.CREDENTIALS_REFUSED: (
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "XAdminUserNotFound"),
        *("AuthenticationFailed", "NoAuthenticationInformation", "InvalidAuthenticationInfo"),
        *("invalid_grant", "invalid_client"),
    ),
    Fault.WRONG_REGION: (
        *(
            "AuthorizationHeaderMalformed",
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationQueryParametersError",
        ),
        *("IllegalLocationConstraintException", "InvalidRegion"),
    ),
    Fault.CLOCK_SKEW: ("RequestTimeTooSkewed", "RequestExpired"),
    Fault.FULL: (
        *("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"),
        *("InsufficientCapacity", "AccountLimitExceeded"),
    ),
    Fault.BUSY: (
        "SlowDown",
        "ServiceUnavailable",
        "ServerBusy",
        "InternalError",
        "OperationTimedOut",
        "RequestTimeout",
    ),
    Fault.OBJECT_NOT_FOUND: ("NoSuchKey", "BlobNotFound"),
    Fault.OBJECT_EXISTS: ("BlobAlreadyExists",),
}
_FAULT_OF_CODE = {code: fault for fault, codes in _CODES.items() for code in codes}
_FAULT_OF_STATUS = {
    "301": Fault.WRONG_REGION,
    "307": Fault.WRONG_REGION,
    "401": Fault.CREDENTIALS_REFUSED,
    "403": Fault.ACCESS_DENIED,
    "404": Fault.OBJECT_NOT_FOUND,
    "409": Fault.OBJECT_EXISTS,
    "412": Fault.OBJECT_EXISTS,
    "429": Fault.BUSY,
    "507": Fault.FULL,
}
_CODE = re.compile(r"<Code>([A-Za-z_]{1,60})</Code>|\"error\": ?\"([a-z_]{1,60})\"")
_STATUS = re.compile(r"(?:status code:|status) (\d{3})")
_URL = re.compile(r"https?://\S+")
# Where clouds give a workload its credentials; the address of a token service is never told.
_IDENTITY = re.compile(
    r"Error performing POST REDACTED"
    r"|https?://(169\.254\.|\[fd00:ec2:|metadata\.google|[^/\s]*\bsts\.|login\.microsoftonline|[^/\s]*oauth2\.googleapis)"
    r"|/latest/(api/token|meta-data)|/computeMetadata/|/oauth2/(v2\.0/)?token"
    r"|WebIdentity|federated token|token file|Error getting (token|credentials)",
    re.IGNORECASE,
)
_CONNECTION = re.compile(r"error sending request|HTTP error|timed out|timeout|connection|dns error", re.IGNORECASE)
_SKEW = re.compile(r"Request date header too old|RequestTimeTooSkewed", re.IGNORECASE)
_DISK = re.compile(r"no space left|disk quota|os error 28|os error 122", re.IGNORECASE)


def fault_of(text: str, *, has_keys: bool) -> tuple[Fault, str]:
    """The fault, and a word of the store's own that may be shown; empty when there is none.

    `has_keys`: credentials were given, so that a refused identity is no possibility.
    """
    if _SKEW.search(text):
        return Fault.CLOCK_SKEW, ""
    found = _CODE.search(text)
    code = (found[1] or found[2]) if found else ""
    status = match[1] if (match := _STATUS.search(text)) else ""
    # The first address is the one that was asked: a store's own answer may name others.
    asked = text.partition("\n")[0]
    if not has_keys and _IDENTITY.search(asked):
        return Fault.NO_IDENTITY, code
    if (known := _FAULT_OF_CODE.get(code)) is not None:
        return known, code
    if "incorrectly configured region" in text:
        return Fault.WRONG_REGION, ""
    if _DISK.search(text):
        return Fault.FULL, ""
    if (known := _FAULT_OF_STATUS.get(status)) is not None:
        return known, code or f"HTTP {status}"
    if status.startswith("5"):
        return Fault.BUSY, code or f"HTTP {status}"
    if _CONNECTION.search(_URL.sub("", asked)):
        return Fault.UNREACHABLE, _connection_word(text)
    return Fault.REFUSED, code or (f"HTTP {status}" if status else "")


def _connection_word(text: str) -> str:
    """Why there was no connection, where the text tells."""
    lower = text.lower()
    for sign, word in (
        ("dns error", "the name does not resolve"),
        ("failed to lookup", "the name does not resolve"),
        ("certificate", "its TLS certificate is not trusted"),
        ("invalidcontenttype", "it does not speak TLS"),
        ("invalidmessage", "it does not speak TLS"),
        ("connection refused", "connection refused"),
        ("kind: timeout", "timed out"),
        ("timedout", "timed out"),
    ):
        if sign in lower:
            return word
    return ""
