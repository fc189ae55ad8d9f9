"""The study of capacity for a reader: a table, a figure per engine and the numbers as JSON."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, units
from reports.canvas import Figure, Picture
from reports.capacity_words import (
    answer,
    bounds,
    general_notes,
    good_share,
    limits,
    side_notes,
    stated_limits,
)
from reports.console import BADGES
from reports.frame import Part, Row
from reports.frame import study as page
from reports.inline import image
from sim.studies.capacity import SIDES, CapacityStudy, Side, SystemCapacity

FILES = ("config.yaml", "capacity.json", "capacity.html")
"""Beside a figure for each engine."""
LABELS = {"without_cache": "without cache", "with_cache": "with cache"}
CAPTION = (
    "Share of requests that meet every limit, over the arrival rate. Every dot is a run with the same\n"
    "draws, crosses are overloaded or without a steady state; dashed lines mark the highest rates that\n"
    "keep the share wanted."
)


def table(study: CapacityStudy) -> RenderableType:
    """Rates without and with the cache, what they serve and cost, and what to know about them."""
    priced = any(_cost(side) for system in study.systems.values() for side in _sides(system).values())
    head = Text(f"Highest sustainable rate: {units.shortened(study.config.name)}", "bold")
    out = Table(title=Text.assemble(head, f"\n{limits(study)}"), title_justify="left", pad_edge=False)
    headings = [study.unit.replace(" ", "\n", 1), "ratio", "requests\nper s", "per GPU", "good"]
    out.add_column("", overflow="fold")
    for heading in [*headings, *["$ per\nM tokens"] * priced]:
        out.add_column(heading, justify="right")
    notes: list[str] = []
    for name, system in study.systems.items():
        out.add_section()
        title = Text(units.printable(name), "bold")
        if system.calibrated is not None:
            title.append("  ").append_text(BADGES[system.calibrated])
        out.add_row(title)
        for label, side in _sides(system).items():
            ratio = system.ratio if label == LABELS["with_cache"] else None
            out.add_row(f"  {label}", *cells(side, ratio)[: len(headings) + priced])
            notes += [f"{name} {label}: {note}" for note in side_notes(study, side)]
        if system.ratio is not None:
            notes.append(f"{name}: ratio, 95 % interval {bounds(system.ratio_interval)} x")
        notes += [f"{name}: {note}" for note in system.notes]
    return Group(out, *(Text(units.printable(note)) for note in [*general_notes(study), *notes]))


def _sides(system: SystemCapacity) -> dict[str, Side]:
    return {LABELS[side]: getattr(system, side) for side in SIDES}


def _cost(side: Side) -> float | None:
    return side.best.cost_usd_per_1m_tokens if side.best else None


def cells(side: Side, ratio: float | None) -> list[str]:
    """Rate, ratio, requests/s, requests/s per GPU, share of good ones, dollars per million tokens."""
    best = side.best
    if best is None:
        return [side.search.outcome.value, "", "", "", "", ""]
    cost, numbers = _cost(side), (best.rate, best.requests_per_s, best.requests_per_s_per_gpu)
    rate, per_s, per_gpu = ("" if number is None else units.significant(number) for number in numbers)
    times = "" if ratio is None else f"{units.significant(ratio)} x"
    dollars = "" if cost is None else units.usd(cost)
    return [rate, times, per_s, per_gpu, good_share(best), dollars]


@canvas.styled
def figure(study: CapacityStudy, name: str, *, caption: bool = True) -> Figure:
    """Share of good requests over the rate, both sides, the wanted share and the rates found marked."""
    system = study.systems[name]
    title = f"Requests within the limits: {units.shortened(name)}"
    figure, axes = canvas.new(
        title,
        f"arrival rate, {study.unit}",
        f"share of requests{canvas.mark(system.calibrated)}\nwithin {stated_limits(study)}",
        height_in=4.2,
    )
    colours = {"without cache": canvas.WITHOUT, "with cache": canvas.WITH}
    for label, side in _sides(system).items():
        _line(axes, label, side, colours[label])
    axes.axhline(
        study.slo.share, color="#555555", linewidth=0.9, linestyle=":",
        label=f"wanted: {study.slo.share * 100:g}%",
    )  # fmt: skip
    canvas.log(axes, "x")
    axes.set_ylim(-0.02, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if caption:
        figure.legend(loc="outside lower center", ncols=3, title=CAPTION, title_fontsize=7.5)
    else:
        canvas.legend(figure, columns=3)
    return figure


def _line(axes: Axes, label: str, side: Side, colour: str) -> None:
    found = side.search.outcome.value
    if side.best is not None:
        found = f"up to {units.significant(side.best.rate)}"
        axes.axvline(side.best.rate, color=colour, linewidth=0.9, linestyle="--")
    shares = side.search.shares
    rates = list(shares)
    axes.plot(rates, list(shares.values()), "o-", color=colour, markersize=3.5, label=f"{label}: {found}")
    others = [sample for sample in side.samples.values() if sample.overloaded or not sample.steady]
    at, seen = [sample.rate for sample in others], [sample.good_share for sample in others]
    axes.plot(at, [nan if share is None else share for share in seen], "x", color=colour, markersize=5)


DEFINITIONS = (
    (
        "Highest rate",
        "The highest arrival rate at which the share wanted of the requests meets every limit.",
    ),
    ("Good", "The share of requests that meet every limit at that rate."),
    ("Ratio", "The highest rate with the cache over that without it."),
    ("Without cache", "The same requests on the same system with prefix caching off."),
    ("Crosses", "Runs that are overloaded or without a steady state: they do not count as good."),
)
HEADINGS = ("ratio", "requests per s", "per GPU", "good", "$ per M tokens")


def render(study: CapacityStudy) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    rows, said = [], list(general_notes(study))
    for name, system in study.systems.items():
        for label, side in _sides(system).items():
            ratio = system.ratio if label == LABELS["with_cache"] else None
            rows.append(Row((name, label, *map(units.unbroken, cells(side, ratio)))))
            said += [f"{name} {label}: {note}" for note in side_notes(study, side)]
        said += [f"{name}: {note}" for note in system.notes]
    pictures = [
        Picture(figure(study, name, caption=False), CAPTION.replace("\n", " ")) for name in study.systems
    ]
    return page(
        subject="highest sustainable rate",
        about=f"The highest rate ({study.unit}) with {limits(study)}, with the cache and without.",
        name=study.config.name,
        seed=study.config.seed,
        answer=units.unbroken(answer(study)),
        parts=[
            Part("Highest rates", headings=("system", "", study.unit, *HEADINGS), rows=rows, words=2),
            Part("Figures", images=[image(picture) for picture in pictures]),
            Part("What to know about them", notes=said),
        ],
        uncalibrated=[name for name, system in study.systems.items() if system.calibrated is False],
        definitions=DEFINITIONS,
        configuration=study.config.to_yaml(paths_as_written=True),
    )


def write(study: CapacityStudy, folder: Path) -> list[Path]:
    """Write config.yaml, capacity.json, capacity.html and capacity-SYSTEM.png per engine, all or none."""
    text = json.dumps(study.summary(), indent=2, allow_nan=False) + "\n"
    contents = {
        "config.yaml": study.config.to_yaml().encode(),
        "capacity.json": text.encode(),
        "capacity.html": render(study).encode(),
        **{f"capacity-{name}.png": canvas.png(figure(study, name)) for name in study.systems},
    }
    files.put(folder, contents)
    return [folder / name for name in contents]
