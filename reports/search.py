"""A search for a reader: the best settings in a table, all that was tried as CSV, a page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import files, units
from reports.figure_text import text
from reports.frame import Part, rows
from reports.frame import study as page
from reports.sweep import named
from sim.studies.axes import short_names, shown
from sim.studies.metric import Metric
from sim.studies.sweep import Row
from sim.studies.tuning import Search

MOST_ROWS = 20
"""Of the best; more are in search.json."""
NEAREST = 5
"""Rows that are shown where none keeps the limits."""
DEFINITIONS = (
    (
        "Within the limits",
        "The means over the seeds keep every limit. Limits are those of the command, and that of slo: the "
        "share of requests that keep its times.",
    ),
    (
        "The best",
        "What keeps the limits and is beaten by nothing else that does: nothing is at least as good in all "
        "goals and better in one. With one goal that is the best value.",
    ),
    (
        "± (interval)",
        "Half the width of the 95 % interval of the mean over the seeds (Student's t); none with one seed.",
    ),
)


def answer(study: Search) -> str:
    """What was found, in a sentence."""
    kept = sum(study.wanted.kept(row) for row in study.rows)
    how = "the whole grid" if study.whole else f"{study.trials} trials chosen by Optuna"
    searched = f"{how}, {len(study.rows)} rows, {kept} within the limits"
    if not study.best:
        near = nearest(study)
        closest = f" Closest: {place(study, near[0])}." if near else ""
        return f"Nothing keeps the limits ({searched}).{closest}"
    row = study.rows[study.best[0]]
    reached = ", ".join(f"{goal.metric.name} {_figure(row, goal.metric)}" for goal in study.wanted.goals)
    if len(study.best) == 1:
        return f"Best: {place(study, row)}, with {reached} ({searched})."
    ends = f"from {place(study, row)} to {place(study, study.rows[study.best[-1]])}"
    return f"{len(study.best)} that nothing beats in all goals, {ends} ({searched})."


def nearest(study: Search) -> list[Row]:
    """What breaks the limits least, by the largest share of a bound by which one is broken."""
    limits = study.wanted.limits
    return sorted(study.rows, key=lambda row: max(limit.excess(row) for limit in limits))[:NEAREST]


def _figure(row: Row, metric: Metric) -> str:
    mean = row.mean(metric)
    return text(mean.value, metric.unit, mean.half) if mean else ""


def place(study: Search, row: Row) -> str:
    """Which row it is, in words."""
    return f"{row.point}, {row.system}" if row.point.labels else row.system


def headings(study: Search) -> list[str]:
    """Axes, system, then the figures of goals and limits."""
    axes = short_names([axis.name for axis in study.wanted.axes])
    return [*axes, "system", *(named(metric) for metric in study.wanted.metrics)]


def cells(study: Search, row: Row) -> list[str]:
    """What stands under the `headings`."""
    labels = [shown(label) for label in row.point.labels.values()]
    return [*labels, row.system, *(_figure(row, metric) for metric in study.wanted.metrics)]


def _wants(study: Search) -> str:
    goals = ", ".join(
        f"{'highest' if goal.high else 'lowest'} {goal.metric.name}" for goal in study.wanted.goals
    )
    limits = "; ".join(limit.text for limit in study.wanted.limits)
    return f"{goals}{', within ' if limits else ''}{limits}"


def table(study: Search) -> RenderableType:
    """The best, the best first; where nothing keeps the limits, what breaks them least."""
    title = Text.assemble((f"Search: {units.shortened(study.config.name)}", "bold"), f"\n{_wants(study)}")
    out = Table(title=title, title_justify="left", pad_edge=False)
    names = headings(study)
    for i, heading in enumerate(names):
        figure = i >= len(names) - len(study.wanted.metrics)
        justify: Literal["left", "right"] = "right" if figure else "left"
        out.add_column(units.printable(heading.replace("_", " ")), justify=justify, overflow="fold")
    told = [study.rows[i] for i in study.best[:MOST_ROWS]] or nearest(study)
    for row in told:
        out.add_row(*(Text(units.printable(cell)) for cell in cells(study, row)))
    lines = [answer(study)]
    lines += [f"failed: {failure.point}: {failure.message}" for failure in study.failures]
    return Group(*([out] if told else [title]), *(Text(units.printable(line)) for line in lines))


def csv_text(study: Search) -> str:
    """One line per system and point: the axes, whether the limits are kept, means of goals and limits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    metrics = study.wanted.metrics
    axes = [axis.name for axis in study.wanted.axes]
    writer.writerow([*axes, "system", "within_limits", *(metric.path for metric in metrics)])
    for row in study.rows:
        labels = [shown(label) for label in row.point.labels.values()]
        means = ["" if (mean := row.mean(metric)) is None else repr(mean.value) for metric in metrics]
        writer.writerow([*labels, row.system, str(study.wanted.kept(row)).lower(), *means])
    return out.getvalue()


def render(found: Search) -> str:
    """The page as HTML5 text, self-contained, in the style of a run's report."""
    kept = [i for i, row in enumerate(found.rows) if found.wanted.kept(row) and i not in found.best]
    others = [i for i in range(len(found.rows)) if i not in found.best and i not in kept]
    groups = (("The best", found.best), ("Others within the limits", kept), ("Beyond a limit", others))
    return page(
        subject="search",
        about=f"{_wants(found)}.",
        name=found.config.name,
        seed=found.config.seed,
        answer=units.unbroken(answer(found)),
        parts=[
            Part(
                title,
                headings=headings(found),
                rows=rows(
                    [[units.unbroken(cell) for cell in cells(found, found.rows[i])] for i in numbers]
                ),
                words=len(headings(found)) - len(found.wanted.metrics),
            )
            for title, numbers in groups
            if numbers
        ],
        failures=[(str(failure.point), failure.message) for failure in found.failures],
        uncalibrated=list(dict.fromkeys(row.system for row in found.rows if row.calibrated is False)),
        definitions=DEFINITIONS,
        configuration=found.config.to_yaml(paths_as_written=True),
    )


def write(study: Search, folder: Path) -> list[Path]:
    """Write search.json, search.csv and search.html, all or none; their paths."""
    contents = {
        "search.json": (json.dumps(study.summary(), indent=2, allow_nan=False) + "\n").encode(),
        "search.csv": csv_text(study).encode(),
        "search.html": render(study).encode(),
    }
    files.put(folder, contents)
    return [folder / name for name in contents]
