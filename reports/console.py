"""The summary of a run for the terminal: a table per engine, one for all replays, notes and claims."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports import side_by_side, units
from reports.rows import TableRow, compare, is_replay, money_label
from reports.sentences import claim_figures, claim_verdict
from sim.results.summary import Summary, WeighedClaim

Column = tuple[str, str, str]
"""A column of the tables of replays: heading, label of the row it shows, field of ``TableRow``."""
REPLAY_COLUMNS: tuple[Column, ...] = (
    ("prompt tokens", "prompt tokens computed", "without"),
    ("computed with cache", "prompt tokens computed", "with_cache"),
    ("saved", "prompt tokens computed", "saved"),
    ("hit rate, by tokens", "hit rate, by tokens", "with_cache"),
    ("requests with a hit", "requests with a hit", "with_cache"),
    ("evicted blocks", "evicted blocks", "with_cache"),
)
STYLE_OF_GAIN = {1: "green", -1: "red", 0: ""}
BADGES = {True: Text(" calibrated ", "black on green"), False: Text(" uncalibrated ", "black on yellow")}
VERDICT_STYLE = {"holds": "green", "does not hold": "red", "not decided": "yellow"}


def table(summary: Summary) -> RenderableType:
    """Everything worth reading after a run, for ``Console.print``; ``summary`` is summary.json's content.

    Names and texts of the configuration are shown as they are, never read as markup.
    """
    systems = summary["systems"]
    replays = [name for name in systems if is_replay(systems[name])]
    parts: list[RenderableType] = []
    if replays:
        parts += [*_replays(summary, replays), *_notes(summary, replays)]
    for name in systems:
        if name not in replays:
            parts += [_engine(summary, name), *_notes(summary, [name])]
    if "side_by_side" in summary:
        parts.append(_side_by_side(summary))
        parts += [_bullet(Text(line)) for line in side_by_side.verdicts(summary)]
        parts.append(Text())
    for i, claim in enumerate(summary["claims"]):
        if i == 0:
            parts.append(Text("Claims", style="bold"))
        parts.append(_claim(claim))
    return Group(*parts)


def _new_table(title: Text) -> Table:
    return Table(title=title, title_justify="left", title_style="", header_style="bold", expand=False)


def _title(name: str, calibrated: bool | None) -> Text:
    title = Text(units.printable(name), style="bold")
    if calibrated is not None:
        title.append("  ").append_text(BADGES[calibrated])
    return title


def _engine(summary: Summary, name: str) -> Table:
    out = _new_table(_title(name, summary["systems"][name]["calibrated"]))
    out.add_column("")
    for heading in ("without cache", "with cache", "saved", "saved, %"):
        out.add_column(heading, justify="right", no_wrap=True)
    for row in compare(summary, name):
        style = STYLE_OF_GAIN[row.gain]
        saved, share = Text(row.saved, style), Text(row.saved_share, style)
        out.add_row(row.label, row.without, row.with_cache, saved, share)
    return out


def _replays(summary: Summary, names: list[str]) -> list[RenderableType]:
    """One line per replay: they have few figures, and without cache they all compute every token."""
    rows = {name: {row.label: row for row in compare(summary, name)} for name in names}
    title = Text("Replays, without service times", style="bold")
    tables: list[RenderableType] = [_by_system(title, rows, REPLAY_COLUMNS)]
    priced = {
        name: of_one for name, of_one in rows.items() if money_label(summary["systems"][name]) in of_one
    }
    if priced:
        label = money_label(summary["systems"][next(iter(priced))])
        fields = ("without cache", "without"), ("with cache", "with_cache"), ("saved", "saved")
        columns = [(heading, label, field) for heading, field in (*fields, ("saved, %", "saved_share"))]
        tables.append(_by_system(Text(f"Replays, {label}", style="bold"), priced, columns))
    return tables


def _by_system(title: Text, rows: dict[str, dict[str, TableRow]], columns: Sequence[Column]) -> Table:
    """A line per system; a column that no system has is left out."""
    out = _new_table(title)
    out.pad_edge = False  # two columns more on a narrow terminal
    columns = [column for column in columns if any(column[1] in of_one for of_one in rows.values())]
    cells = [
        [
            units.printable(name),
            *(getattr(of_one[label], field) if label in of_one else "" for _, label, field in columns),
        ]
        for name, of_one in rows.items()
    ]
    return _filled(out, ["system", *(heading for heading, _, _ in columns)], cells)


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


def _side_by_side(summary: Summary) -> Table:
    """Every priced system in the same dollars."""
    out = _new_table(Text("Side by side", style="bold"))
    out.pad_edge = False
    return _filled(out, *side_by_side.table(summary))


def _notes(summary: Summary, names: list[str]) -> list[RenderableType]:
    """The notes of the systems ``names``, each note once, and an empty line."""
    said = dict.fromkeys(note for name in names for note in summary["systems"][name]["notes"])
    lines: list[RenderableType] = [_bullet(Text(units.printable(note), "dim")) for note in said]
    return [*lines, Text()]


def _bullet(text: Text) -> Padding:
    grid = Table.grid(padding=(0, 1))
    grid.add_row("-", text)
    return Padding(grid, (0, 0, 0, 2))


def _claim(claim: WeighedClaim) -> RenderableType:
    verdict = claim_verdict(claim)
    head = Text.assemble(
        (units.printable(claim["system"]), "bold"), ": ", (verdict, VERDICT_STYLE[verdict])
    )
    lines = [claim_figures(claim), f"source: {claim['source']}", *claim["conditions"]]
    return Group(head, *(_bullet(Text(units.printable(line))) for line in lines))
