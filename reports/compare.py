"""Finished runs side by side, in the terminal and as a page."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, looks, units
from reports.canvas import Figure, Picture
from reports.figure_text import text
from reports.frame import Part, Row
from reports.frame import study as page
from reports.inline import image
from reports.rows import UNCHANGED
from sim.studies.compare import Breach, Comparison, Finished, ratio
from sim.studies.metric import Metric

GAINS = {"green": "gain", "red": "loss"}


def table(study: Comparison) -> RenderableType:
    """A line for every figure of every system; behind each value its ratio to the baseline's."""
    out = Table(title=Text("Runs side by side", "bold"), title_justify="left", pad_edge=False)
    out.add_column("")
    for i, run in enumerate(study.runs):
        baseline = "\n(baseline)" if i == 0 and len(study.runs) > 1 else ""
        out.add_column(units.printable(run.name) + baseline, justify="right", overflow="fold")
    for system in study.systems:
        out.add_section()
        out.add_row(Text(units.printable(system), "bold"))
        for metric in study.metrics:
            cells = (_cell(study, run, system, metric) for run in study.runs)
            out.add_row(f"  {metric.name.replace('_', ' ')}", *cells)
    return Group(out, *(Text(units.printable(note)) for note in study.notes()))


def _cell(study: Comparison, run: Finished, system: str, metric: Metric) -> Text:
    value = run.value(system, metric)
    shown = text(value, metric.unit)
    times = ratio(value, study.baseline.value(system, metric))
    if run is study.baseline or times is None:
        return Text(shown)
    gain = (times > 1) == metric.higher_is_better
    style = "" if abs(times - 1) < UNCHANGED else "green" if gain else "red"
    return Text(f"{shown}  {units.significant(times)} x", style)


def answer(study: Comparison) -> str:
    """Which conditions hold; without one, by how much the first figure of the first system changed most."""
    if study.breaches:
        return (
            f"{len(study.breaches)} condition{'s hold' if len(study.breaches) > 1 else ' holds'}: "
            + "; ".join(map(sentence, study.breaches))
        )
    largest: tuple[float, str] | None = None
    for run in study.runs[1:]:
        for system in study.systems:
            for metric in study.metrics:
                times = ratio(run.value(system, metric), study.baseline.value(system, metric))
                if times is not None and 0 < times < math.inf:
                    what = f"{metric.name.replace('_', ' ')} of {system} in {run.name}"
                    what += f": {units.significant(times)} times"
                    largest = max(largest or (0.0, ""), (abs(math.log(times)), what))
    if largest is None or largest[0] < UNCHANGED:
        return "No figure differs from the baseline's."
    return f"The largest difference is in {largest[1]} the baseline's."


DEFINITIONS = (
    ("Baseline", "The first run; behind each value of the others stands its ratio to the baseline's."),
    ("Figures", "Their names are those of summary.json; what each means stands in docs/outputs.md."),
)


RATIOS = (
    "Every figure of every system as a multiple of the baseline's (logarithmic). The line is the "
    "baseline itself."
)
MOST_ROWS = 60
"""Of the figure; the tables have all."""


@canvas.styled
def figure(study: Comparison) -> Figure:
    """Ratios to the baseline, a row for each figure of each system, a colour for each run."""
    several = len(study.systems) > 1
    rows = [(system, metric) for system in study.systems for metric in study.metrics][:MOST_ROWS]
    drawn, axes = canvas.new(
        "Ratios to the baseline", "times the baseline's", "", height_in=1.2 + 0.2 * len(rows)
    )
    for i, run in enumerate(study.runs[1:]):
        found = [ratio(run.value(*row), study.baseline.value(*row)) for row in rows]
        known = [(times, y) for y, times in enumerate(found) if times is not None and 0 < times < math.inf]
        if known:
            x, y = zip(*known, strict=True)
            axes.plot(x, y, "o", color=canvas.LINES[i % len(canvas.LINES)], markersize=5, label=run.name)
    axes.axvline(1, color=canvas.LINE, linewidth=1.0)
    names = [metric.name.replace("_", " ") + f", {system}" * several for system, metric in rows]
    axes.set_yticks(range(len(rows)), [units.shortened(name, 40) for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    looks.unnamed(axes)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.9), max(high, 1.1))
    canvas.log(axes, "x")
    canvas.legend(drawn, 1)
    return drawn


def render(study: Comparison) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    headings = ["figure", *(run.name for run in study.runs)]
    parts = []
    for system in study.systems:
        rows = []
        for metric in study.metrics:
            shown = [_cell(study, run, system, metric) for run in study.runs]
            gains = {i: GAINS[str(cell.style)] for i, cell in enumerate(shown) if str(cell.style) in GAINS}
            cells = (metric.name.replace("_", " "), *(units.unbroken(cell.plain) for cell in shown))
            rows.append(Row(cells, gains={i + 1: look for i, look in gains.items()}))
        parts.append(Part(system, headings=headings, rows=rows, sorts=False))
    if len(study.runs) > 1:
        parts.insert(0, Part("Ratios", images=[image(Picture(figure(study), RATIOS))]))
    return page(
        subject="runs side by side",
        about=f"{len(study.runs)} finished runs; the baseline is {study.baseline.name}.",
        name="Runs side by side",
        answer=answer(study),
        notes=study.notes(),
        parts=parts,
        definitions=DEFINITIONS,
    )


def write(study: Comparison, folder: Path) -> list[Path]:
    """Write compare.html into ``folder``; its path."""
    files.put(folder, {"compare.html": render(study).encode()})
    return [folder / "compare.html"]


def sentence(breach: Breach) -> str:
    """Which condition holds where, and by which figures."""
    unit = breach.condition.metric.unit
    out = f"{breach.condition.text}: {text(breach.value, unit)} for {breach.system} in {breach.run}"
    if breach.baseline is None:
        return out
    times = ratio(breach.value, breach.baseline)
    assert times is not None
    return f"{out}, {units.significant(times)} times the baseline's {text(breach.baseline, unit)}"
