"""Tables, colours and progress on a terminal, plain columns elsewhere; the sole importer of rich."""

from contextlib import contextmanager
from typing import Callable, Iterable, Iterator, List, Optional, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

COLOURS = {"ok": "green", "degraded": "yellow", "unknown": "magenta", "failed": "bold red", "active": "green", "inactive": "yellow",
           "undefined": "red"}


def show(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print `rows`; a cell that is a known state gets its colour, the last column takes the width that is left."""
    console = Console(highlight=False, soft_wrap=False)
    table = _table(columns, rows, console.is_terminal)
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(highlight=False, width=10_000, color_system=None)  # a pipe gets whole lines, one row each
    with wide.capture() as captured:
        wide.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], bold: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold" if bold else "")
    for column in columns:
        last = column == columns[-1]
        table.add_column(column, overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    return table


class Screen:
    """A table that is drawn anew on a terminal; elsewhere one after the other.  Leaves the terminal as it was."""

    def __init__(self, plain: bool = False) -> None:
        console = Console(highlight=False)
        self._live: Optional[Live] = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal and not plain else None

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], below: List[str]) -> None:
        """One round: a title, a table, and lines below it."""
        if self._live is None:
            print(title)
            show(columns, rows)
            print("\n".join([*below, ""]), flush=True)
            return
        self._live.update(Group(Text(title, style="dim"), _table(columns, rows, True), *(Text(line) for line in below)), refresh=True)

    def line(self, text: str) -> None:
        """One line of its own, for whoever reads by program."""
        print(text, flush=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """tell(done, size), in bytes, shows how far `what` is; nothing where stderr is no terminal.  The bar is gone at the end."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, size: shown.update(task, completed=done, total=size)
