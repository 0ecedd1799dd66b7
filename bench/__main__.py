"""Runs the measurements that are named, or all: `python -m bench [single] [many] [operator] [startup] [grants]`."""

import sys
from collections.abc import Callable

from bench import apply, grants, operator, startup

BENCHMARKS: dict[str, Callable[[], None]] = {
    "single": lambda: apply.report(databases=1, users=1, runs=5),
    "many": lambda: apply.report(databases=200, users=3, runs=3),
    "operator": lambda: operator.report(runs=10),
    "startup": startup.report,
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
