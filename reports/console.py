"""The summary of a run for the terminal: the answer, what may mislead, one table, notes and claims."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports import comparison, side_by_side, units, validity
from reports.rows import compare
from reports.sentences import claim_figures, claim_verdict, sentence
from sim.results.summary import Summary, WeighedClaim

CROSSOVERS = 3
"""Pairs of own GPUs and a provider that are told at the terminal."""
STYLE_OF_GAIN = {1: "green", -1: "red", 0: ""}
BADGES = {True: Text(" calibrated ", "black on green"), False: Text(" uncalibrated ", "black on yellow")}
VERDICT_STYLE = {"holds": "green", "does not hold": "red", "not decided": "yellow"}


USUAL_WIDTH = 80
NAME_WIDTH = 24
"""Longer names are folded."""


def table(summary: Summary, width: int = USUAL_WIDTH, *, details: bool = False) -> RenderableType:
    """Everything worth reading after a run, for ``Console.print``; ``summary`` is summary.json's content.

    The answer first, then what may mislead, then one table: of the one system without and with its cache,
    or of all systems side by side, with as many columns as fit. ``details``: a table of each of several
    systems too. Names and texts of the configuration are shown as they are, never read as markup.
    """
    names = list(summary["systems"])
    several = summary["comparison"] is not None
    answer = comparison.sentence(summary) if several else sentence(summary, names[0])
    parts: list[RenderableType] = [Text(answer, "bold"), Text()]
    told = (validity.measured(summary), validity.intervals(summary))
    parts += [_bullet(Text(line, "dim")) for line in told if line]
    parts += [_bullet(Text(units.printable(line), "yellow"), "!") for line in validity.warnings(summary)]
    if several:
        parts.append(_several(summary, width))
    if details or not several:
        parts += [_engine(summary, name) for name in names]
    if details and summary.get("side_by_side"):
        parts.append(_side_by_side(summary))
    parts += _notes(summary, names)
    if summary.get("crossovers"):
        parts += _crossovers(summary)
    for i, claim in enumerate(summary["claims"]):
        if i == 0:
            parts.append(Text("Claims", style="bold"))
        parts.append(_claim(claim))
    return Group(*parts)


def _several(summary: Summary, width: int) -> Table:
    """A line per system, the best first; of its columns the first ones that fit."""
    out = Table(header_style="bold", expand=False, pad_edge=False)
    headings, rows = comparison.table(summary)
    used = 1
    for fit in range(len(headings)):
        cells = [row[fit] for row in rows]
        needed = max(map(len, (*headings[fit].split(), *cells)))
        used += 3 + (min(needed, NAME_WIDTH) if fit == 0 else needed)
        if used > width:
            break
    else:
        fit = len(headings)
    return _filled(out, headings[:fit], [row[:fit] for row in rows])


def _side_by_side(summary: Summary) -> Table:
    """Every priced system in the same dollars."""
    out = _new_table(Text("Side by side", style="bold"))
    return _filled(out, *side_by_side.table(summary))


def _crossovers(summary: Summary) -> list[RenderableType]:
    """Where owning beats renting, of the first few pairs."""
    said = side_by_side.verdicts(summary)
    lines: list[RenderableType] = [_bullet(Text(line)) for line in said[:CROSSOVERS]]
    if len(said) > CROSSOVERS:
        lines.append(_bullet(Text(f"{len(said) - CROSSOVERS} more such pairs are in the report", "dim")))
    return [*lines, Text()]


def _new_table(title: Text) -> Table:
    return Table(
        title=title, title_justify="left", title_style="", header_style="bold", expand=False, pad_edge=False
    )


def _title(name: str, calibrated: bool | None) -> Text:
    title = Text(units.printable(name), style="bold")
    if calibrated is not None:
        title.append("  ").append_text(BADGES[calibrated])
    return title


def _engine(summary: Summary, name: str) -> Table:
    out = _new_table(_title(name, summary["systems"][name]["calibrated"]))
    out.add_column("")
    for heading in ("without cache", "with cache", "saved, %"):
        out.add_column(heading, justify="right", no_wrap=True)
    for row in compare(summary, name):
        share = Text(row.saved_share, STYLE_OF_GAIN[row.gain])
        out.add_row(row.label, row.without, row.with_cache, share)
    return out


def _filled(out: Table, headings: Sequence[str], rows: list[list[str]]) -> Table:
    """Columns as narrow as their figures and the words of their headings; only names are folded."""
    for i, heading in enumerate(headings):
        width = max(map(len, (*heading.split(), *(row[i] for row in rows))))
        if i == 0:
            out.add_column(heading, overflow="fold")
        else:
            out.add_column(heading, justify="right", width=width)
    for row in rows:
        out.add_row(*map(Text, row))
    return out


def _notes(summary: Summary, names: list[str]) -> list[RenderableType]:
    """The notes of the systems ``names``, each note once, and an empty line."""
    said = dict.fromkeys(note for name in names for note in summary["systems"][name]["notes"])
    lines: list[RenderableType] = [_bullet(Text(units.printable(note), "dim")) for note in said]
    return [*lines, Text()]


def _bullet(text: Text, mark: str = "-") -> Padding:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(mark, text)
    return Padding(grid, (0, 0, 0, 2))


def _claim(claim: WeighedClaim) -> RenderableType:
    verdict = claim_verdict(claim)
    head = Text.assemble(
        (units.printable(claim["system"]), "bold"), ": ", (verdict, VERDICT_STYLE[verdict])
    )
    lines = [claim_figures(claim), f"source: {claim['source']}", *claim["conditions"]]
    return Group(head, *(_bullet(Text(units.printable(line))) for line in lines))
