"""Read-only mode: what would be done is reported, and not done."""

from pathlib import Path

import pytest
from tests.operator.operating import NEVER, OWN, Ground, eventually, operating

pytestmark = pytest.mark.majors(18)


def test_read_only_writes_neither_on_a_server_nor_any_secret(ground: Ground, tmp_path: Path) -> None:
    with operating(ground.kube, tmp_path, *NEVER):
        ground.create_everything()
    wrong = {"host": "elsewhere", "password": "edited"}
    ground.create(ground.user("gone"))
    with operating(ground.kube, tmp_path, *NEVER, name="before"):
        ground.until("DatabaseUser", "gone", "Ready")
    ground.patch("Secret", "reader-credentials", {"stringData": wrong})
    roles, mark = ground.roles(), ground.server.mark()

    def secrets() -> dict[str, str]:
        found = [*ground.all("Secret"), *ground.all("Secret", OWN)]
        return {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in found}

    before = secrets()
    with operating(ground.kube, tmp_path, *NEVER, "--read-only", name="reading"):
        ground.create(ground.user("new"))
        ground.create(ground.database("other"))
        ground.delete("DatabaseUser", "gone")
        message = ground.until_blocked("DatabaseUser", "new", "ReadOnlyMode")
        assert f"did not: Create login {ground.unique}-new" in message
        message = ground.until_blocked("DatabaseUser", "reader", "ReadOnlyMode")
        assert message.endswith(f"did not: change Secret {ground.team}/reader-credentials")
        assert "did not: Create role" in ground.until_blocked("Database", "other", "ReadOnlyMode")
        ground.until_blocked("DatabaseUser", "gone", "ReadOnlyMode")
        ground.until("DBCluster", ground.unique, "Connected")
        assert "finalizers" not in (ground.get("DatabaseUser", "new") or {})["metadata"]
        assert "finalizers" not in (ground.get("Database", "other") or {})["metadata"]
        # What a deletion does last, when nothing is left to do on the server.
        with ground.server.connect() as connection:
            connection.execute(f'DROP ROLE "{ground.unique}-gone"'.encode())
        ground.annotate("DatabaseUser", "gone", "dbtether.io/reconcile", "now")
        eventually(lambda: "delete Secret" in str(ground.status("DatabaseUser", "gone")["message"]), "the Secret stays")
        ground.annotate("DatabaseUser", "gone", "dbtether.io/force-delete", "true")
        ground.create(ground.user("last"))
        ground.until_blocked("DatabaseUser", "last", "ReadOnlyMode")
        assert ground.get("DatabaseUser", "gone") is not None
    assert secrets() == before
    assert ground.roles() == [role for role in roles if role != f"{ground.unique}-gone"]
    sent = [one.text.upper() for one in ground.server.logged_since(mark) if "dbtether" in one.application_name]
    assert sent != []
    assert [text for text in sent if text.startswith(("CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT"))] == []
    with operating(ground.kube, tmp_path, *NEVER, name="after"):
        ground.until("DatabaseUser", "new", "Ready")
        ground.until_gone("DatabaseUser", "gone")
