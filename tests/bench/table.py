"""The table that the benchmark prints: figures by size, how they grow, the goal, and whether it is met."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure for each size, None where it was not taken. `met` is None when the figure has no goal."""

    name: str
    values: Sequence[float | None]
    places: int = 0
    goal: str = ""
    met: bool | None = None
    growing: bool = True


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: Sequence[Row]


def render(sizes: Sequence[int], sections: Sequence[Section]) -> str:
    """Return the table as plain text."""
    lines = [["", *(f"n = {size:,}" for size in sizes), "growth", "goal", "met"]]
    for section in sections:
        lines.append([section.title])
        lines += [_cells(row) for row in section.rows]
    width = len(lines[0])
    lines = [line + [""] * (width - len(line)) for line in lines]
    # Titles may run on over the columns beside them.
    widths = [max(len(line[at]) for line in lines if at or any(line[1:])) for at in range(width)]
    shown = []
    for line in lines:
        left, *rest = (
            cell.ljust(room) if at in (0, width - 2, width - 1) else cell.rjust(room)
            for at, (cell, room) in enumerate(zip(line, widths, strict=True))
        )
        shown.append("  ".join((left, *rest)).rstrip())
    return "\n".join(shown)


def _cells(row: Row) -> list[str]:
    values = ["-" if value is None else f"{value:,.{row.places}f}" for value in row.values]
    pairs = zip(row.values, row.values[1:], strict=False) if row.growing else ()
    growth = " ".join(f"x{later / earlier:.1f}" for earlier, later in pairs if earlier and later)
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return [f"  {row.name}", *values, growth, row.goal, met]
