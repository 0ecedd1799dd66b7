"""Runs the measurements that are named, or all: `python -m bench [NAME ...]`, the names stand below."""

import sys
from collections.abc import Callable

from bench import apply, backup, grants, many_on_kube, operator, restore, resync, startup


def _measure_operator() -> None:
    operator.report(runs=10)
    many_on_kube.report(databases=100, users=3)


BENCHMARKS: dict[str, Callable[[], None]] = {
    "single": lambda: apply.report(databases=1, users=1, runs=5),
    "many": lambda: apply.report(databases=200, users=3, runs=3),
    "users": lambda: resync.report(databases=50, users=100),
    "operator": _measure_operator,
    "settled": lambda: many_on_kube.report(databases=100, users=100),
    "startup": startup.report,
    "backup": lambda: backup.report(sizes=(100 * backup.MIB, 1000 * backup.MIB)),
    "restore": lambda: restore.report(sizes=(100 * backup.MIB, 1000 * backup.MIB)),
    "grants": lambda: grants.report(tables=(1, 100, 5000), users=5),
}


def main() -> int:
    """Run what was asked for; 3 when a name is not known."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark is named {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 3
    for name in names:
        BENCHMARKS[name]()
    return 0


sys.exit(main())
