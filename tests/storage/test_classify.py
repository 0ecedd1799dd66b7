"""Which trouble a store's answer tells of: what real clouds say, beside what the test's servers can show."""

import pytest

from dbtether.storage.classify import fault_of
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.parts import MIB, parts_for


def answer(status: int, code: str = "", url: str = "https://bucket.s3.eu-west-1.amazonaws.com/a") -> str:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>" if code else ""
    return (
        f"Generic S3 error: Error performing PUT {url} in 1ms - Server returned non-2xx status code: {status} X: {body}"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (answer(403, "RequestTimeTooSkewed"), Fault.CLOCK_SKEW),
        (
            answer(403, "AuthenticationFailed") + "<AuthenticationErrorDetail>Request date header too old",
            Fault.CLOCK_SKEW,
        ),
        (answer(403, "AuthenticationFailed"), Fault.CREDENTIALS_REFUSED),
        (answer(403, "AuthorizationPermissionMismatch"), Fault.ACCESS_DENIED),
        (answer(403, "ExpiredToken"), Fault.CREDENTIALS_REFUSED),
        (answer(403, "QuotaExceeded"), Fault.FULL),
        (answer(507, "XMinioStorageFull"), Fault.FULL),
        (answer(507), Fault.FULL),
        (answer(500) + "write: no space left on device", Fault.FULL),
        (answer(503, "SlowDown"), Fault.BUSY),
        (answer(502), Fault.BUSY),
        (answer(429), Fault.BUSY),
        (answer(301, "PermanentRedirect"), Fault.WRONG_REGION),
        (answer(400, "AuthorizationHeaderMalformed"), Fault.WRONG_REGION),
        (
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            Fault.WRONG_REGION,
        ),
        (answer(404, "ContainerNotFound"), Fault.BUCKET_NOT_FOUND),
        (answer(400, "SomethingNew"), Fault.REFUSED),
        (
            "Error performing GET https://x/ in 3s, after 2 retries - HTTP error: error sending request",
            Fault.UNREACHABLE,
        ),
        ("something else", Fault.REFUSED),
    ],
)
def test_an_answer_is_told_apart(text: str, fault: Fault) -> None:
    assert fault_of(text, has_keys=True)[0] is fault


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/api/token",
        "http://169.254.170.23/v1/credentials",
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
        "https://sts.eu-west-1.amazonaws.com/?Action=AssumeRoleWithWebIdentity",
        "https://login.microsoftonline.com/x/oauth2/v2.0/token",
    ],
)
def test_an_identity_that_gives_no_credentials_is_no_trouble_of_the_store(url: str) -> None:
    text = f"Generic S3 error: Error performing PUT {url} in 3s - HTTP error: error sending request"
    assert fault_of(text, has_keys=False)[0] is Fault.NO_IDENTITY
    assert fault_of(answer(403, "AccessDenied", url), has_keys=False)[0] is Fault.NO_IDENTITY


def test_an_answer_that_only_mentions_an_identity_is_judged_by_its_code() -> None:
    text = answer(403, "AccessDenied") + "\n<Message>https://sts.eu-west-1.amazonaws.com/</Message>"
    assert fault_of(text, has_keys=False)[0] is Fault.ACCESS_DENIED


def test_nothing_of_an_answer_is_quoted_but_its_code() -> None:
    text = answer(403, "SignatureDoesNotMatch") + "<StringToSign>hunter2</StringToSign>"
    fault, detail = fault_of(text, has_keys=True)
    assert detail == "SignatureDoesNotMatch"
    assert "hunter2" not in str(StorageError(fault, "writing", "s3://b/k", detail))
    assert fault_of("<Code>hunter2; drop table</Code>", has_keys=True) == (Fault.REFUSED, "")


@pytest.mark.parametrize("fault", list(Fault))
def test_each_trouble_says_what_where_and_what_next(fault: Fault) -> None:
    told = str(StorageError(fault, "writing", "s3://bucket/key", "Word"))
    assert told.startswith("writing s3://bucket/key: ")
    assert ": " in told.removeprefix("writing s3://bucket/key: ")


@pytest.mark.parametrize("expected", [None, 0, 1, 10**9, 10**11, 10**12, 2 * 10**12])
def test_the_parts_of_what_is_expected_stay_below_the_most_that_s3_takes(expected: int | None) -> None:
    parts = parts_for(expected)
    assert parts.size % MIB == 0
    assert parts.size >= 5 * MIB
    assert parts.size <= 5 * 1024 * MIB
    assert parts.size * 10_000 >= 2 * (expected or 0)
    assert parts.at_once >= 1


def test_memory_of_an_upload_is_bounded_up_to_large_databases() -> None:
    for gibibytes in (0, 1, 50, 70):
        parts = parts_for(gibibytes * 1024 * MIB)
        assert (parts.at_once + 1) * parts.size <= 48 * MIB
