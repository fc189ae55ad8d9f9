"""Finished runs side by side in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import units
from reports.figure_text import text
from sim.studies.compare import Breach, Comparison, Finished, ratio
from sim.studies.metric import Metric

UNCHANGED = 0.0005
"""A ratio that is nearer to 1 than this has no colour."""


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


def sentence(breach: Breach) -> str:
    """Which condition holds where, and by which figures."""
    unit = breach.condition.metric.unit
    out = f"{breach.condition.text}: {text(breach.value, unit)} for {breach.system} in {breach.run}"
    if breach.baseline is None:
        return out
    times = ratio(breach.value, breach.baseline)
    assert times is not None
    return f"{out}, {units.significant(times)} times the baseline's {text(breach.baseline, unit)}"
