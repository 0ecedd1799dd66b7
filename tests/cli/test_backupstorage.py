"""BackupStorages on the command line: a folder beside the state, with no server and no cluster."""

from pathlib import Path

from tests.cli.program import Program

FOLDER = {
    "apiVersion": "dbtether.io/v1alpha1",
    "kind": "BackupStorage",
    "metadata": {"name": "disk"},
    "spec": {"local": {"path": "backups"}},
}


def test_a_folder_is_applied_shown_planned_and_deleted(program: Program) -> None:
    name = program.write(FOLDER)
    planned = program.run("plan", "-f", name)
    assert planned.code == 2, planned.err
    assert not (program.folder / "backups").exists()
    applied = program.run("apply", "-f", name)
    assert applied.code == 0, applied.err
    assert (program.folder / "backups").is_dir()
    shown = program.run("get", "bs")
    assert shown.out.splitlines()[0].split() == ["NAME", "PROVIDER", "PHASE", "AGE"]
    assert shown.out.splitlines()[1].split()[:3] == ["disk", "local", "Ready"]
    assert "Deletable" in program.run("describe", "bs", "disk").out
    assert program.run("plan", "-f", name).code == 0
    deleted = program.run("delete", "-f", name)
    assert (deleted.code, deleted.out) == (0, "BackupStorage disk deleted\n")
    assert (program.folder / "backups").is_dir()


def test_a_folder_elsewhere_needs_consent(program: Program, tmp_path: Path) -> None:
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")
    name = program.write({**FOLDER, "spec": {"local": {"path": str(elsewhere / "backups")}}})
    refused = program.run("apply", "-f", name)
    assert refused.code != 0
    assert "LocalStorageNotAllowed" in refused.err
    program.environment["DBTETHER_LOCAL_STORAGE_ROOT"] = str(elsewhere)
    elsewhere.mkdir()
    assert program.run("apply", "-f", name).code == 0
