"""The layers of the package: each imports only itself and those above it in the list."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "dbtether"

LAYERS = (
    "errors",
    "api",
    "crds",
    "postgres",
    "storage",
    "backup",
    "runtime",
    "controllers",
    "operator",
    "embedded",
    "cli",
)
FORBIDDEN = {
    # The queue, the stores and the API client serve any controller: they know nothing of PostgreSQL.
    "runtime": {"postgres"},
    # The demo's own server is a tool of the command line; it knows no resource.
    "embedded": set(LAYERS) - {"errors", "embedded"},
}
IO_MODULES = {
    *("aiohttp", "asyncio", "concurrent", "ftplib", "http", "httpx", "logging", "multiprocessing", "obstore"),
    *(
        "os",
        "pathlib",
        "psycopg",
        "psycopg_pool",
        "random",
        "secrets",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
    ),
    *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "urllib.request"),
}


def findings(source: Path) -> list[str]:
    """Return a sentence for each import that breaks the order of the layers."""
    found = []
    for file in sorted(source.rglob("*.py")):
        module = _module_name(source, file)
        layer = _layer(module)
        if layer not in (*LAYERS, None):
            found.append(f"{module} belongs to no layer: name `{layer}` in LAYERS")
            continue
        for imported in _imports(file, module):
            problem = _problem(layer, imported)
            if problem:
                found.append(f"{module} imports {imported}: {problem}")
    return found


def _problem(layer: str | None, imported: str) -> str | None:
    if not _is_within(imported, "dbtether"):
        if layer == "api" and any(_is_within(imported, module) for module in IO_MODULES):
            return "the API's models do no I/O"
        return None
    target = _layer(imported)
    if target is None or target == layer:
        return None
    if layer is None:
        return "the package itself imports no layer, so that importing it costs nothing"
    if target not in LAYERS or LAYERS.index(target) > LAYERS.index(layer):
        return f"{target} is not above {layer}"
    if target in FORBIDDEN.get(layer, ()):
        return f"{layer} does without {target}"
    return None


def _module_name(source: Path, file: Path) -> str:
    parts = file.relative_to(source).with_suffix("").parts
    return ".".join(("dbtether", *parts))


def _layer(module: str) -> str | None:
    """Return the layer of a module of ours; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and not parts[1].startswith("__") else None


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _imports(file: Path, module: str) -> Iterator[str]:
    """Yield the full name of all that a file imports, wherever in it; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import starts at the package that holds the file.
            base = module.split(".")[: -node.level] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def test_each_layer_imports_only_those_above_it() -> None:
    assert findings(SOURCE) == []


def test_the_walk_sees_the_package() -> None:
    assert {_layer(_module_name(SOURCE, file)) for file in SOURCE.rglob("*.py")} >= {"api", "errors", "cli"}


@pytest.mark.parametrize(
    ("file", "line", "finding"),
    [
        pytest.param(
            "postgres/roles/plan.py",
            "from dbtether.controllers.role import reconcile",
            "dbtether.postgres.roles.plan imports dbtether.controllers.role.reconcile: "
            "controllers is not above postgres",
            id="an upward import",
        ),
        pytest.param(
            "postgres/roles/plan.py",
            "from ...runtime import queue",
            "dbtether.postgres.roles.plan imports dbtether.runtime.queue: runtime is not above postgres",
            id="a relative upward import",
        ),
        pytest.param(
            "postgres/roles/__init__.py",
            "def late():\n    import dbtether.cli",
            "dbtether.postgres.roles.__init__ imports dbtether.cli: cli is not above postgres",
            id="an upward import inside a function",
        ),
        pytest.param(
            "storage/s3.py",
            "from dbtether import controllers",
            "dbtether.storage.s3 imports dbtether.controllers: controllers is not above storage",
            id="a layer taken from the package itself",
        ),
        pytest.param(
            "runtime/queue.py",
            "from dbtether.postgres import connection",
            "dbtether.runtime.queue imports dbtether.postgres.connection: runtime does without postgres",
            id="the runtime that knows PostgreSQL",
        ),
        pytest.param(
            "controllers/database.py",
            "from dbtether.embedded import EmbeddedServer",
            "dbtether.controllers.database imports dbtether.embedded.EmbeddedServer: embedded is not above controllers",
            id="the embedded server used by a controller",
        ),
        pytest.param(
            "api/parse.py",
            "from os import path",
            "dbtether.api.parse imports os.path: the API's models do no I/O",
            id="an API model that reads files",
        ),
        pytest.param(
            "helpers.py",
            "",
            "dbtether.helpers belongs to no layer: name `helpers` in LAYERS",
            id="a module outside the layers",
        ),
        pytest.param(
            "__init__.py",
            "from dbtether.api import resource",
            "dbtether.__init__ imports dbtether.api.resource: "
            "the package itself imports no layer, so that importing it costs nothing",
            id="a package that imports its layers",
        ),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str, finding: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    assert findings(tmp_path) == [finding]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        pytest.param("controllers/role.py", "from dbtether.postgres.roles import plan", id="a layer above"),
        pytest.param("postgres/roles/plan.py", "from .model import Role", id="a neighbour"),
        pytest.param("api/parse.py", "from urllib.parse import urlsplit", id="a module without I/O"),
        pytest.param("cli/demo.py", "from dbtether.embedded import EmbeddedServer", id="the demo's server"),
        pytest.param("cli/main.py", "from dbtether import __version__", id="the version"),
    ],
)
def test_a_right_import_is_no_finding(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    assert findings(tmp_path) == []
