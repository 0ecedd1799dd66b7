"""A manifest with something in every field."""

from datetime import UTC, datetime
from typing import Any

from dbtether.backup.formats import DumpFormat
from dbtether.backup.manifest import Collation, Content, Extension, Grant, Manifest, Origin, Source

INSTALLATION_KEY = b"k" * 32


def manifest(**changes: Any) -> Manifest:
    """A complete backup of database `shop`, with changes."""
    values: dict[str, Any] = {
        "run_id": "a1b2c3d4",
        "installation": "test",
        "origin": Origin(namespace="team", name="nightly", uid="1", spec_hash="0f", schedule="nightly"),
        "source": Source(
            cluster="pg",
            namespace="team",
            resource="shop",
            database="shop",
            server_version="16.14",
            server_identity="7",
            encoding="UTF8",
            collation=Collation(provider="libc", collate="C", ctype="C"),
            owner="dbtether_shop_owner",
            connection_limit=-1,
            size_bytes=8_000_000,
            grants=(Grant(grantee="", privilege="CONNECT", grantable=False),),
            settings=("work_mem=8MB",),
            role_settings={"shop-reader": ("role=dbtether_shop_readonly",)},
            extensions=(Extension(name="pg_trgm", version="1.6", schema_name="public"),),
        ),
        "key": "pg/shop/20261125-020000.sql.gz",
        "format": DumpFormat.GZIP,
        "stored": Content(bytes=10, sha256="a" * 64),
        "plain": Content(bytes=100, sha256="b" * 64),
        "started_at": datetime(2026, 11, 25, 2, 0, 0, tzinfo=UTC),
        "snapshot_at": datetime(2026, 11, 25, 2, 0, 1, tzinfo=UTC),
        "finished_at": datetime(2026, 11, 25, 2, 1, 0, tzinfo=UTC),
        "client_version": "16.14",
        "tool_version": "0.1.0",
        "tables": {"public.orders": 3},
    }
    return Manifest(**{**values, **changes})
