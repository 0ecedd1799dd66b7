"""What a backup's job leaves."""

import pytest

from dbtether.backup.job import JobResult
from dbtether.runtime.jobs import MAX_RESULT_BYTES


@pytest.mark.parametrize("letter", ["a", "ж", "語", "\n", '"', "🐘"])
def test_a_long_message_in_any_language_fits_a_termination_message(letter: str) -> None:
    text = JobResult(False, "StorageAccessDenied", letter * 5000, True).text()
    assert len(text.encode()) <= MAX_RESULT_BYTES
    found = JobResult.parse(text)
    assert found is not None
    assert (found.reason, found.may_retry, found.message[:1]) == ("StorageAccessDenied", True, letter)
