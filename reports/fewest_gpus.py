"""The fewest GPUs within limits for a reader: a sentence, a table, a figure and a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, units
from reports.canvas import Picture
from reports.figure_text import text
from reports.frame import Part
from reports.frame import rows as lines_of
from reports.frame import study as page
from reports.inline import image
from sim.studies.axes import Point, shown
from sim.studies.fewest_gpus import SIDES, Fleets
from sim.studies.metric import metric
from sim.studies.outputs import FleetSize

LABELS = {"with_cache": "with cache", "without_cache": "without cache"}
DEFINITIONS = (
    (
        "Enough",
        "The means over the seeds keep every limit. The number of replicas is doubled until it is enough, "
        "then halved in between: assumed is that what is enough stays so with more.",
    ),
    (
        "With one less",
        "What the limited figures are with one replica less: the fleet that is too small by a little.",
    ),
    ("Without cache", "The same requests on the same fleet with prefix caching off."),
    ("Dollars an hour", "The bill of the measured time by its length: all replicas are held throughout."),
)


def kind(point: Point) -> str:
    """A kind of replica in words."""
    return ", ".join(shown(label) for label in point.labels.values()) or "as configured"


def answer(study: Fleets) -> str:
    """Which GPUs, how many of them, and how many it would be without the cache."""
    best, plain = study.best("with_cache"), study.best("without_cache")
    limits = "; ".join(limit.text for limit in study.limits)
    if best is None:
        return f"No kind keeps the limits ({limits}) with up to {study.most} replicas."
    out = f"Fewest GPUs for {limits}: {_counted(*best)}"
    if plain is None:
        return f"{out}; without the cache no kind keeps them with up to {study.most} replicas."
    return f"{out}; without the cache {_counted(*plain)}."


def _counted(point: Point, size: FleetSize) -> str:
    usd = size["cost_usd_per_hour"]
    cost = "" if usd is None else f", {units.usd(usd)} an hour"
    return f"{size['gpus']} ({kind(point)}{cost})"


def rows(study: Fleets) -> list[list[str]]:
    """Kind, side, replicas, GPUs, dollars an hour, the limited figures, and these with one replica less."""
    out = []
    for point, sizes in study.kinds:
        for side in SIDES:
            size = sizes[side]
            number = f"over {study.most}" if size["replicas"] is None else str(size["replicas"])
            gpus = "" if size["gpus"] is None else str(size["gpus"])
            dollars = "" if (usd := size["cost_usd_per_hour"]) is None else units.usd(usd)
            figures = [_figures(size["good"]), _figures(size["one_less"] or {})]
            out.append([kind(point), LABELS[side], number, gpus, dollars, *figures])
    return out


def _price_note(study: Fleets) -> list[str]:
    """That dollars of unlike GPUs rest on one price."""
    if not study.one_price:
        return []
    return [
        f"All kinds are paid systems.{study.system}.price: an axis of GPUs with a price each (--axes gpus, "
        "or a file like it) tells which is cheapest."
    ]


def _figures(found: dict[str, float | None]) -> str:
    """The limited figures in the order of the limits."""
    return ", ".join(text(value, metric(path, "").unit) for path, value in found.items())


def headings(study: Fleets) -> list[str]:
    """Of the columns of `rows`."""
    limited = ", ".join(limit.metric.name.replace("_", " ") for limit in study.limits)
    return ["kind", "", "replicas", "GPUs", "$/h", limited, "with one less"]


def table(study: Fleets) -> RenderableType:
    """Two lines for every kind, and the answer below."""
    title = Text.assemble(
        (f"Fewest GPUs: {units.shortened(study.config.name)}", "bold"), f"\n{study.system}"
    )
    out = Table(title=title, title_justify="left", pad_edge=False)
    for heading in headings(study):
        named = heading in ("kind", "")
        out.add_column(heading, justify="left" if named else "right", overflow="fold")
    for cells in rows(study):
        out.add_row(*(Text(units.printable(cell)) for cell in cells))
    lines = [answer(study), *_price_note(study)]
    lines += [f"failed: {failure.point}: {failure.message}" for failure in study.failures]
    return Group(out, *(Text(units.printable(line)) for line in lines))


@canvas.styled
def picture(study: Fleets) -> Picture:
    """GPUs needed by each kind, with the cache and without."""
    title = f"Fewest GPUs within the limits: {units.shortened(study.config.name)}"
    label = f"GPUs{canvas.mark(_calibrated(study))}"
    figure, axes = canvas.new(title, label, "", height_in=1.6 + 0.5 * len(study.kinds))
    at = np.arange(len(study.kinds))
    for i, (side, colour) in enumerate(zip(SIDES, (canvas.WITH, canvas.WITHOUT), strict=True)):
        gpus = [sizes[side]["gpus"] for _, sizes in study.kinds]
        places = at + (i - 0.5) * 0.38
        axes.barh(places, [number or 0 for number in gpus], 0.36, color=colour, label=LABELS[side])
        for place, number in zip(places, gpus, strict=True):
            label = f"over {study.most} replicas" if number is None else str(number)
            axes.annotate(
                label, (number or 0, place), (3, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.set_yticks(at, [units.shortened(kind(point)) for point, _ in study.kinds])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.legend(figure)
    limits = "; ".join(limit.text for limit in study.limits)
    return Picture(figure, f"The fewest GPUs of each kind that keep the limits: {limits}.")


def _calibrated(study: Fleets) -> bool | None:
    return study.config.systems[study.system].calibrated(study.config.folder)


def render(study: Fleets, drawn: Picture) -> str:
    """The page as HTML5 text, self-contained, in the style of a run's report."""
    return page(
        subject="fewest GPUs",
        about=" ".join([f"The fewest GPUs of {study.system} within limits.", *_price_note(study)]),
        name=study.config.name,
        seed=study.config.seed,
        answer=units.unbroken(answer(study)),
        parts=[
            Part(
                "Every kind",
                images=[image(drawn)],
                headings=headings(study),
                rows=lines_of([[units.unbroken(cell) for cell in cells] for cells in rows(study)]),
                words=2,
                table_first=True,
            )
        ],
        failures=[(str(failure.point), failure.message) for failure in study.failures],
        uncalibrated=[study.system] if _calibrated(study) is False else [],
        definitions=DEFINITIONS,
        configuration=study.config.to_yaml(paths_as_written=True),
    )


def write(study: Fleets, folder: Path) -> list[Path]:
    """Write fewest-gpus.json, .html and .png, all or none; their paths."""
    drawn = picture(study)
    contents = {
        "fewest-gpus.json": (json.dumps(study.summary(), indent=2, allow_nan=False) + "\n").encode(),
        "fewest-gpus.html": render(study, drawn).encode(),
        "fewest-gpus.png": canvas.png(drawn.figure),
    }
    files.put(folder, contents)
    return [folder / name for name in contents]
