"""A sweep for a reader: a table, a CSV file, figures and a page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, sweep_figures, units
from reports.figure_text import text
from reports.frame import Part
from reports.frame import Row as Line
from reports.frame import study as page
from reports.inline import image
from sim.studies.axes import short_names, shown
from sim.studies.metric import Metric
from sim.studies.sweep import Row, Sweep

MOST_ROWS = 60
"""More are left out in the terminal; the files have them all."""
DEFINITIONS = (
    (
        "Point",
        "One combination of the axes. Every point is run with the same seeds, so the differences between "
        "points that share a workload are those of their settings and not of the draws.",
    ),
    (
        "± (interval)",
        "Half the width of the 95 % interval of the mean over the seeds (Student's t). With one seed there "
        "is none. It holds the spread over random draws, not the error of the model.",
    ),
    (
        "Best, and what is no different",
        "The best mean of a figure. Another point differs from it if the interval of the differences, seed "
        "by seed, does not contain 0.",
    ),
    ("Pareto front", "The points that no other point beats in one figure without losing in the other."),
    ("Figures", "Their names are those of summary.json; what each means stands in docs/outputs.md."),
)


def headings(study: Sweep) -> list[str]:
    """Of the columns that say which row it is: the axes, and the system where there are several."""
    systems = ["system"] if _several(study) else []
    return [*short_names([axis.name for axis in study.axes]), *systems]


def cells(study: Sweep, row: Row) -> list[str]:
    """What stands under the `headings`."""
    return [*(shown(label) for label in row.point.labels.values()), *[row.system] * _several(study)]


def named(metric: Metric) -> str:
    """A metric as a heading, with its unit where the cells do not show it."""
    unit = f", {metric.unit}" if metric.unit in ("1/s", "tokens/s", "ratio") else ""
    return metric.name.replace("_", " ") + unit


def figures(study: Sweep, row: Row) -> list[str]:
    """The figures of a row as text, in the order of the metrics."""
    means = [(each, row.mean(each)) for each in study.metrics]
    return [text(mean.value, each.unit, mean.half) if mean else "" for each, mean in means]


def _several(study: Sweep) -> bool:
    return len({row.system for row in study.rows}) > 1


def best(study: Sweep, metric: Metric) -> str:
    """The best row of a figure in a sentence, and how many do not differ from it."""
    known = [(mean.value, i) for i, row in enumerate(study.rows) if (mean := row.mean(metric)) is not None]
    if not known:
        return f"{metric.name}: no value."
    sign = -1 if metric.higher_is_better else 1
    best_row = study.rows[min(known, key=lambda pair: (sign * pair[0], pair[1]))[1]]
    mean = best_row.mean(metric)
    assert mean is not None
    others = [study.rows[i] for _, i in known if study.rows[i] is not best_row]
    same = [row for row in others if not best_row.differs(row, metric)]
    word = "Highest" if metric.higher_is_better else "Lowest"
    out = f"{word} {metric.name}: {text(mean.value, metric.unit, mean.half)} at {place(study, best_row)}"
    if others and len(same) == len(others):
        return f"{out}; no difference that holds from any other."
    if same:
        return f"{out}; no difference that holds from {len(same)} of {len(others)} others."
    return f"{out}."


def place(study: Sweep, row: Row) -> str:
    """Which row it is, in words."""
    named = zip(headings(study), cells(study, row), strict=True)
    return ", ".join(f"{name} = {cell}" for name, cell in named) or row.system


def table(study: Sweep) -> RenderableType:
    """A line for every system at every point, the best of each figure, and what failed."""
    on_front = set(study.pareto.rows) if study.pareto else set()
    runs = f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)} a point"
    title = Text.assemble((f"Sweep: {units.shortened(study.config.name)}", "bold"), f"\n{runs}")
    out = Table(title=title, title_justify="left", pad_edge=False)
    for heading in headings(study):
        out.add_column(units.printable(heading.replace("_", " ")), overflow="fold")
    for metric in study.metrics:
        out.add_column(named(metric), justify="right")
    for i, row in enumerate(study.rows[:MOST_ROWS]):
        style = "bold" if i in on_front else ""
        shown_cells = [units.printable(cell) for cell in (*cells(study, row), *figures(study, row))]
        out.add_row(*(Text(cell) for cell in shown_cells), style=style)
    lines = [best(study, metric) for metric in study.metrics] if len(study.rows) > 1 else []
    if len(study.rows) > MOST_ROWS:
        lines.insert(0, f"{len(study.rows) - MOST_ROWS} more rows in sweep.csv.")
    if study.pareto:
        x, y = study.pareto.x, study.pareto.y
        names = "; ".join(place(study, study.rows[i]) for i in study.pareto.rows)
        lines.append(f"Pareto front of {x.name} and {y.name}: {names}.")
    lines += [f"failed: {failure.point}: {failure.message}" for failure in study.failures]
    return Group(out, *(Text(units.printable(line)) for line in lines))


def csv_text(study: Sweep) -> str:
    """One line per job and system: the axes, the seed, the job, and every figure of the system."""
    names = [axis.name for axis in study.axes]
    paths = list(
        dict.fromkeys(
            [path for row in study.rows for figures in row.figures for path in figures]
            + [metric.path for metric in study.metrics]
        )
    )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "system", "seed", "job", *paths])
    for row in study.rows:
        labels = [shown(label) for label in row.point.labels.values()]
        for i, (seed, job) in enumerate(zip(study.seeds, row.jobs, strict=True)):
            own = row.figures[i] | {metric.path: row.values[metric][i] for metric in study.metrics}
            values = ("" if (value := own.get(path)) is None else repr(value) for path in paths)
            writer.writerow([*labels, row.system, seed, job, *values])
    return out.getvalue()


def write(study: Sweep, folder: Path) -> list[Path]:
    """Write sweep.json, sweep.csv, sweep.html and a PNG for every figure, all or none; their paths."""
    pictures = sweep_figures.of(study)
    contents = {
        "sweep.json": (json.dumps(study.summary(), indent=2, allow_nan=False) + "\n").encode(),
        "sweep.csv": csv_text(study).encode(),
        "sweep.html": render(study, pictures).encode(),
        **{f"{name}.png": canvas.png(picture.figure) for name, picture in pictures.items()},
    }
    files.put(folder, contents)
    return [folder / name for name in contents]


def render(study: Sweep, pictures: dict[str, canvas.Picture]) -> str:
    """The page as HTML5 text, self-contained, in the style of a run's report."""
    on_front = set(study.pareto.rows) if study.pareto else set()
    points = len({str(row.point) for row in study.rows})
    seeds = len(study.seeds)
    said = [units.unbroken(best(study, metric)) for metric in study.metrics if len(study.rows) > 1]
    front = ""
    if study.pareto:
        front = f"In bold: the Pareto front of {study.pareto.x.name} and {study.pareto.y.name}."
    lines = [
        Line(
            [*(cells(study, row) or [row.system]), *(units.unbroken(cell) for cell in figures(study, row))],
            look="first" if i in on_front else "",
        )
        for i, row in enumerate(study.rows)
    ]
    names = headings(study) or ["system"]
    parts = [
        Part("Figures", images=[image(picture) for picture in pictures.values()]),
        Part(
            "Every point",
            front,
            headings=[*names, *map(named, study.metrics)],
            rows=lines,
            words=len(names),
        ),
    ]
    return page(
        subject="sweep",
        about=(
            f"{points} point{'s' * (points != 1)}, {seeds} seed{'s' * (seeds != 1)} each, from seed "
            f"{study.seeds[0]} on."
        ),
        name=study.config.name,
        seed=study.seeds[0],
        answer=said[0] if said else "",
        notes=said[1:],
        parts=[part for part in parts if part.images or part.rows],
        failures=[(str(failure.point), failure.message) for failure in study.failures],
        uncalibrated=list(dict.fromkeys(row.system for row in study.rows if row.calibrated is False)),
        definitions=DEFINITIONS,
        configuration=study.config.to_yaml(paths_as_written=True),
    )
