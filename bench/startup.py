"""How long `dbtether --help` takes, beside a Python that does nothing."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

_RUNS = 15


def report() -> None:
    """Print the median times."""
    program = str(Path(sys.executable).parent / "dbtether")
    ours = _median([program, "--help"])
    empty = _median([sys.executable, "-c", "pass"])
    print(f"start-up: dbtether --help {ours:.3f} s, python -c pass {empty:.3f} s (limit 0.3 s: {ours / 0.3:.2f} of it)")


def _median(command: list[str]) -> float:
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return median(times)
