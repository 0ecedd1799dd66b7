"""Manifests: what is written is read again, and whatever happens to one on its way is found."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backup.samples import INSTALLATION_KEY, manifest

from dbtether.backup.manifest import (
    ManifestInvalid,
    Trust,
    manifest_key,
    object_key,
    read_manifest,
    run_key,
    write_manifest,
)

WRITTEN = write_manifest(manifest(), run_key(INSTALLATION_KEY, "a1b2c3d4"))


def test_what_is_written_is_read_again_and_known_as_ours() -> None:
    assert read_manifest(WRITTEN, "x", INSTALLATION_KEY) == (manifest(), Trust.OURS)


def test_without_the_installation_s_key_nobody_can_say_who_wrote_it() -> None:
    for key in (None, b"another key"):
        assert read_manifest(WRITTEN, "x", key) == (manifest(), Trust.UNKNOWN)


def test_the_key_of_one_run_signs_no_other() -> None:
    forged = write_manifest(manifest(run_id="ffffffff"), run_key(INSTALLATION_KEY, "a1b2c3d4"))
    assert read_manifest(forged, "x", INSTALLATION_KEY)[1] is Trust.UNKNOWN


@given(place=st.integers(0, len(WRITTEN) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_found_or_changes_nothing(place: int, byte: int) -> None:
    damaged = bytearray(WRITTEN)
    damaged[place] = byte
    try:
        found, _ = read_manifest(bytes(damaged), "x", INSTALLATION_KEY)
    except ManifestInvalid:
        return
    assert found == manifest()


@given(cut=st.integers(0, len(WRITTEN) - 3))
def test_a_manifest_that_is_cut_off_is_none(cut: int) -> None:
    with pytest.raises(ManifestInvalid):
        read_manifest(WRITTEN[:cut], "x", INSTALLATION_KEY)


def altered(**changes: Any) -> bytes:
    body = {**json.loads(WRITTEN)["body"], **changes}
    body = {name: value for name, value in body.items() if value is not None}
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps({"body": body, "sha256": hashlib.sha256(text).hexdigest(), "hmac": "00"}).encode()


INVALID = {
    "not JSON": (b"<html>", r"pg/x: the manifest is cut off or damaged \(not JSON\)"),
    "a list": (b"[]", "pg/x: no manifest of dbtether"),
    "somebody else's JSON": (b'{"a": 1}', "pg/x: no manifest of dbtether"),
    "a newer form": (altered(schemaVersion=2), "a manifest of form 2; this dbtether knows 1: upgrade it"),
    "a missing field": (altered(key=None), "the manifest is not complete: key: Field required"),
    "a wrong checksum": (altered(stored={"bytes": 1, "sha256": "x"}), "not complete: stored.sha256"),
    "a time that is none": (altered(startedAt="yesterday"), "the manifest is not complete"),
    "nesting without an end": (b"[" * 200_000, "pg/x"),
}


@pytest.mark.parametrize(("content", "told"), INVALID.values(), ids=INVALID)
def test_what_is_no_manifest_is_told_in_a_sentence(content: bytes, told: str) -> None:
    with pytest.raises(ManifestInvalid, match=told):
        read_manifest(content, "pg/x", INSTALLATION_KEY)


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert read_manifest(altered(note="from a later version"), "x")[0] == manifest()


def test_a_manifest_lies_beside_its_object() -> None:
    assert manifest_key("a/b.sql.gz") == "a/b.sql.gz.manifest.json"
    assert object_key("a/b.sql.gz.manifest.json") == "a/b.sql.gz"
    assert object_key("a/b.sql.gz") is None
