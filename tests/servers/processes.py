"""Watches processes that are no children of the test."""

import time

import psutil


def ends_within(pid: int, seconds: float) -> bool:
    """Return whether the process has ended by then; one that waits to be reaped has ended."""
    deadline = time.monotonic() + seconds
    while _runs(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
