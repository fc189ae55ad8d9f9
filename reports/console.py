"""The summary of a run for the terminal: the answer, what may mislead, one table, notes and claims."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports import comparison, notices, side_by_side, units, validity
from reports.rows import UNCHANGED, compare
from reports.sentences import claim_figures, claim_verdict, sentence
from sim.results.summary import Summary, WeighedClaim

MOST_LINES = 39
"""Of a terminal, and one more for where the report is."""
MOST_SYSTEMS = 18
"""Lines of a table of systems."""
FIRST = 2
"""Of each kind of remark, before others have their turn."""
FOREMOST = ("rejected", "too long for the cache", "vLLM would not start", "uncalibrated")
"""How the notes begin that come before others."""
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
    or of all systems side by side, with as many columns as fit; then what else there is to say. On at most
    `MOST_LINES` lines, whatever the number of systems: what does not fit is in the report. ``details``: a
    table of each of several systems too, and everything. Names and texts of the configuration are shown as
    they are, never read as markup.
    """
    names = list(summary["systems"])
    several = summary["comparison"] is not None
    answer = comparison.sentence(summary) if several else sentence(summary, names[0])
    head: list[RenderableType] = [Text(answer, "bold"), Text()]
    told = (validity.measured(summary), validity.intervals(summary))
    head += [_bullet(Text(line, "dim")) for line in told if line]
    warned = [_bullet(Text(units.printable(line), "yellow"), "!") for line in validity.together(summary)]
    notes = _notes(summary, names)
    better = _better_strategies(summary) if several else []
    crossovers = _crossovers(summary) if summary.get("crossovers") else []
    claims = [_claim(claim) for claim in summary["claims"]]
    if details:
        tables: list[RenderableType] = [_several(summary, width)] if several else []
        tables += [_engine(summary, name) for name in names]
        if summary.get("side_by_side"):
            tables.append(_side_by_side(summary))
        return Group(*head, *warned, *tables, *better, *notes, *crossovers, *claims)
    middle = _several(summary, width, MOST_SYSTEMS) if several else _engine(summary, names[0])
    parts: list[list[RenderableType]] = [[*warned], [middle], better, notes, crossovers, claims]
    first = [
        *warned[:FIRST], *notes[:1], *claims, *notes[1:FIRST], *better[:FIRST], *crossovers,
        *warned[FIRST:], *better[FIRST:], *notes[FIRST:],
    ]  # fmt: skip
    return _fitted(head, middle, parts, first, width)


def _fitted(
    head: Sequence[RenderableType],
    middle: RenderableType,
    parts: Sequence[Sequence[RenderableType]],
    first: Sequence[RenderableType],
    width: int,
) -> RenderableType:
    """``head`` and all of ``parts``; of them ``middle`` and what is ``first``, as far as lines suffice."""
    left = MOST_LINES - _height(Group(*head, middle), width)
    heights = {id(part): _height(part, width) for part in first}
    if sum(heights.values()) > left:
        left -= 1  # to say how many are left out
        fit = set()
        for part in first:
            if heights[id(part)] <= left:
                left -= heights[id(part)]
                fit.add(id(part))
        out = len(first) - len(fit)
        more = "1 more note is" if out == 1 else f"{out} more notes are"
        rest = [_bullet(Text(f"{more} in the report", "dim"))]
        parts = [[part for part in of_kind if part is middle or id(part) in fit] for of_kind in parts]
        parts = [*parts, rest]
    return Group(*head, *(part for of_kind in parts for part in of_kind))


def _height(part: RenderableType, width: int) -> int:
    """Its lines at that width."""
    console = Console(width=width, file=StringIO(), markup=False, emoji=False, highlight=False)
    return len(console.render_lines(part, console.options))


def _better_strategies(summary: Summary) -> list[RenderableType]:
    """Providers whose client has a cheaper strategy for marks and lifetimes, by what it would save."""
    found = []
    for name, entry in summary["systems"].items():
        best = entry.get("regret")
        if best is not None and best["regret_usd"] > UNCHANGED * best["best_cost_usd"]:
            less = units.percent(best["regret_usd"] / (best["regret_usd"] + best["best_cost_usd"]))
            cost, said = units.usd(best["best_cost_usd"]), units.printable(best["best_strategy"])
            whole = " of the whole run" if summary["window"]["outside_ratio"] else ""
            text = f"{units.printable(name)}: the bill{whole} would be {less} less with {said}: {cost}"
            found.append((best["regret_usd"], _bullet(Text(text))))
    return [line for _, line in sorted(found, key=lambda one: -one[0])]


def _several(summary: Summary, width: int, most: int | None = None) -> Table:
    """A line per system, the best first; of its columns the first ones that fit, of its lines ``most``."""
    out = Table(header_style="bold", expand=False, pad_edge=False)
    headings, rows = comparison.table(summary)
    if most is not None and len(rows) > most:
        rows = _shortened(rows, most, comparison.place_of_baseline(summary))
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


def _shortened(rows: list[list[str]], most: int, baseline: int) -> list[list[str]]:
    """The best of the rows and that of the baseline, ``most`` in all with one that counts the others."""
    best, others = rows[: most - 2], rows[most - 2 :]
    kept = rows[baseline] if baseline >= most - 2 else others.pop(0)
    if baseline >= most - 2:
        return [*best, _gap(len(others) - 1, len(kept)), kept]
    return [*best, kept, _gap(len(others), len(kept))]


def _gap(count: int, columns: int) -> list[str]:
    return [f"... {count} more", *[""] * (columns - 1)]


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
    return lines


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
    """The notes of the systems ``names``, each once, and whom it concerns if not all of them.

    First come those that change what figures are worth.
    """
    said = notices.merged((name, note) for name in names for note in summary["systems"][name]["notes"])
    lines: list[RenderableType] = []
    for note, concerned in sorted(said.items(), key=lambda item: not item[0].startswith(FOREMOST)):
        whom = "" if len(concerned) == len(names) else f"{notices.whom(concerned, len(names))}: "
        lines.append(_bullet(Text(whom + units.printable(note), "dim")))
    return lines


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
