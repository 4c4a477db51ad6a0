"""Tables and colours on a terminal, plain columns elsewhere; the sole importer of rich."""

from typing import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"ok": "green", "degraded": "yellow", "unknown": "magenta", "failed": "bold red", "active": "green", "inactive": "yellow",
           "undefined": "red"}


def show(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print `rows`; a cell that is a known state gets its colour, the last column takes the width that is left."""
    console = Console(highlight=False, soft_wrap=False)
    table = Table(box=None, pad_edge=False, header_style="bold" if console.is_terminal else "")
    for column in columns:
        last = column == columns[-1]
        table.add_column(column, overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(highlight=False, width=10_000, color_system=None)  # a pipe gets whole lines, one row each
    with wide.capture() as captured:
        wide.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
