"""Sizes and times in words, as statuses, logs and the command line tell them. Pure."""

from dbtether.backup.dump import DumpProgress
from dbtether.backup.restore.passing import PassProgress

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size: float) -> str:
    """Such as `12.3 MiB`."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """Such as `1m12s`, as Kubernetes writes it; below ten seconds with a digit after the point."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def progress_text(progress: DumpProgress, size_bytes: int) -> str:
    """Such as `120.0 MiB read (15 % of 800.0 MiB on disk), 45.1 MiB/s, 12 tables, 100,000 rows`."""
    share = f"{min(progress.plain_bytes / size_bytes, 1):.0%} of {size_text(size_bytes)} on disk" if size_bytes else ""
    rate = progress.plain_bytes / max(progress.seconds, 0.001)
    parts = [
        f"{size_text(progress.plain_bytes)} read" + (f" ({share.replace('%', ' %')})" if share else ""),
        f"{size_text(rate)}/s",
    ]
    if progress.tables:
        parts.append(f"{progress.tables:,} tables, {progress.rows:,} rows")
    return ", ".join(parts)


def restore_text(done: PassProgress, object_bytes: int, seconds: float, doing: str) -> str:
    """Such as `restoring: 12.3 MiB of 45.6 MiB, 12 tables, 123,456 rows, 34.5 MiB/s`."""
    share = f"{size_text(done.object_bytes)}" + (f" of {size_text(object_bytes)}" if object_bytes else "")
    rate = f"{size_text(done.object_bytes / max(seconds, 0.001))}/s"
    return f"{doing}: {share}, {done.tables:,} tables, {done.rows:,} rows, {rate}"
