"""What a person sees while the engine works: a live view on a terminal, else a line for each change of phase."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table
from rich.text import Text

from dbtether.api.resource import Key, Resource
from dbtether.cli.output import PHASE_STYLES, err, printable, tell
from dbtether.runtime.records import RecordStore
from dbtether.runtime.store import Change, ChangeType

_SHOWN_KINDS = ("DBCluster", "Database", "DatabaseUser", "BackupStorage", "Backup", "BackupSchedule", "Restore")
_SETTLED_PHASES = frozenset({"Ready", "Connected", "Completed", "Active", "Suspended", "deleted"})
_GONE = "deleted"


class Progress:
    """Follows the phases of resources by the store's changes."""

    def __init__(self, store: RecordStore, *, is_quiet: bool = False) -> None:
        self._prints_lines = not is_quiet and (not err().is_terminal or err().is_dumb_terminal)
        self._phases: dict[Key, str] = {}
        self._messages: dict[Key, str] = {}
        self._live: Live | None = None
        store.subscribe(self._take_in)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for as long as the block runs."""
        if not err().is_terminal or err().is_dumb_terminal:
            yield
            return
        with Live(console=err(), get_renderable=self._picture, refresh_per_second=12, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def watch(self, resources: Iterable[Resource]) -> None:
        """Show these from the start, before anything happens to them."""
        for resource in resources:
            self._phases[resource.key] = shown_phase(resource)

    def _take_in(self, change: Change) -> None:
        if change.key.kind not in _SHOWN_KINDS:
            return
        phase, message = _GONE, ""
        if change.type is not ChangeType.REMOVED and change.new is not None:
            phase = shown_phase(change.new)
            message = str(change.new.status.get("message") or "")
        is_new = self._phases.get(change.key) != phase
        self._phases[change.key], self._messages[change.key] = phase, message
        # Who deletes says itself what is gone.
        if is_new and self._prints_lines and phase not in ("Pending", _GONE):
            tell(f"{change.key}  {phase}")

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 3, 0, 0))
        # Where the terminal is narrow, only the message is cut.
        table.add_column(no_wrap=True, min_width=max((len(str(key)) for key in self._phases), default=0))
        table.add_column(no_wrap=True, min_width=len("Connected"))
        table.add_column(no_wrap=True, overflow="ellipsis")
        room = max(err().height - 3, 3)
        pending = [key for key in self._phases if self._phases[key] not in _SETTLED_PHASES]
        done = [key for key in self._phases if self._phases[key] in _SETTLED_PHASES]
        # What still works is worth the room; of the rest the latest.
        shown = (
            [*done[-max(room - len(pending), 0) :], *pending[:room]] if len(self._phases) > room else [*self._phases]
        )
        for key in shown:
            phase = self._phases[key]
            message = "" if phase in _SETTLED_PHASES else printable(self._messages.get(key, ""))
            table.add_row(str(key), Text(phase, style=PHASE_STYLES.get(phase, "")), Text(message, style="dim"))
        if len(shown) < len(self._phases):
            table.add_row(Text(f"{len(done)} of {len(self._phases)} done", style="dim"))
        return table


def shown_phase(resource: Resource) -> str:
    """The phase for people: what is being deleted says so from the start."""
    phase = str(resource.status.get("phase") or "Pending")
    return "Deleting" if resource.deleted is not None and phase in _SETTLED_PHASES else phase
