"""The study of client habits in a terminal: one table, a section for every pair, a row for every system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports import units
from reports.console import BADGES
from reports.habits import COSTS_MORE, PER, more_usd, sentence, times, usd_text, write
from sim.studies.habits import HabitStudy, costs_more, dollars
from sim.studies.outputs import HabitFigures

__all__ = ["table", "write"]
WIDTH = 80
"""Columns that do not fit into so many characters are left to the page."""
NAME_WIDTH = 20
INDENT = 2


@dataclass(frozen=True, slots=True)
class Column:
    """Two lines of heading, and the cell of a pair from (good figures, bad figures)."""

    heading: tuple[str, str]
    cell: Callable[[HabitFigures, HabitFigures], str]
    meaning: str = ""


def _flagged(figures: HabitFigures) -> str:
    """Dollars, marked where caching off would be cheaper; the mark has its place in every row."""
    text = usd_text(dollars(figures)[0])
    return text and text + (COSTS_MORE if costs_more(figures) else " ")


def _more(good: HabitFigures, bad: HabitFigures) -> str:
    before, after = dollars(good)[0], dollars(bad)[0]
    return "" if before is None or after is None else more_usd(after, before)


def _times_to_first_token(good: HabitFigures, bad: HabitFigures) -> str:
    before, after = units.times_ms(good["mean_ttft_ms"], bad["mean_ttft_ms"])
    return after and f"{before.split()[0]} to {after}"


def _written(good: HabitFigures, bad: HabitFigures) -> str:
    return "" if bad["written_tokens"] is None else units.tokens(bad["written_tokens"])


COLUMNS = (
    Column(("hit rate", "good"), lambda good, bad: units.rate(good["hit_rate"])),
    Column(("", "bad"), lambda good, bad: units.rate(bad["hit_rate"])),
    Column(
        ("times", "comp."),
        lambda good, bad: times(good, bad),
        "times comp.: prompt tokens computed under the bad habit over those under the good one.",
    ),
    Column(("dollars", "good "), lambda good, bad: _flagged(good)),
    Column(("", "bad "), lambda good, bad: _flagged(bad)),
    Column(
        ("", "more"),
        _more,
        "dollars: for GPUs paid by the hour only the time in which they compute counts.",
    ),
    Column(
        ("written", "by bad"),
        _written,
        "written by bad: tokens that a provider billed as cache writes under the bad habit.",
    ),
    Column(("TTFT,", "good to bad"), _times_to_first_token, "TTFT: the mean of all requests."),
)
"""In order of importance. One that no system fills is left out."""


def table(study: HabitStudy) -> RenderableType:
    """What each habit costs on every system, and what it means for each of them."""
    pairs, systems = study.pairs.values(), list(study.config.systems)
    labels = [" " * INDENT + units.shortened(system, NAME_WIDTH) for system in systems]
    room, widths, columns = WIDTH - max(map(len, labels)), [max(map(len, labels))], []
    for column in _filled(study):
        cells = [column.cell(pair.good[system], pair.bad[system]) for pair in pairs for system in systems]
        width = max(map(len, (*column.heading, *cells)))
        room -= width + 1
        if room < 0:
            break
        columns.append(column)
        widths.append(width)
    parts: list[RenderableType] = [
        Text(f"What client habits cost {PER}: {units.shortened(study.config.name)}", "bold"),
        _grid(widths, [("", *(column.heading[line] for column in columns)) for line in (0, 1)], "bold"),
    ]
    any_costs_more = False
    for name, pair in study.pairs.items():
        instead = f" instead of {units.printable(pair.good_name)}"
        parts.append(Text.assemble((units.printable(name), "bold"), (instead, "dim")))
        rows = []
        for label, system in zip(labels, systems, strict=True):
            good, bad = pair.good[system], pair.bad[system]
            any_costs_more |= costs_more(good) or costs_more(bad)
            rows.append((label, *(column.cell(good, bad) for column in columns)))
        parts.append(_grid(widths, rows))
    if any_costs_more:
        parts.append(Text(f"{COSTS_MORE} more than the same prompts with caching off", "bold"))
    parts += [Text(column.meaning, "dim") for column in columns if column.meaning]
    parts.append(Text())
    return Group(*parts, *(_sentence(study, system) for system in systems))


def _filled(study: HabitStudy) -> list[Column]:
    """The columns that some system fills."""
    every = [(pair.good[system], pair.bad[system]) for pair in study.pairs.values() for system in pair.good]
    return [column for column in COLUMNS if any(column.cell(*both) for both in every)]


def _grid(widths: list[int], rows: list[tuple[str, ...]], style: str = "") -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for i, width in enumerate(widths):
        grid.add_column(width=width, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(cell, style) for cell in row))
    return grid


def _sentence(study: HabitStudy, system: str) -> RenderableType:
    text = Text.assemble((units.printable(system), "bold"))
    calibrated = next(iter(study.pairs.values())).good[system]["calibrated"]
    if calibrated is not None:
        text.append("  ").append_text(BADGES[calibrated])
    said = Text(units.printable(sentence(study, system)))
    return Group(text, Padding(said, (0, 0, 0, INDENT)))
