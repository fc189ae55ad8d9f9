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
from reports.console import BADGES
from reports.frame import Part, Row
from reports.frame import study as page
from reports.inline import image
from sim.studies.capacity import SIDES, Between, CapacityStudy, Side, SystemCapacity
from sim.studies.rate_sample import RateSample, requests_needed
from sim.studies.search import MOST_DOUBLINGS, Outcome, Verdict

FILES = ("config.yaml", "capacity.json", "capacity.html")
"""Beside a figure for each engine."""
LABELS = {"without_cache": "without cache", "with_cache": "with cache"}
CAPTION = (
    "Share of requests that meet every limit, over the arrival rate. Every dot is a run with the same\n"
    "draws, crosses are overloaded or without a steady state; dashed lines mark the highest rates that\n"
    "keep the share wanted."
)


def limits(study: CapacityStudy) -> str:
    """What a request has to meet, and how many of them: '99% of requests within ttft 500 ms'."""
    return f"{study.slo.share * 100:g}% of requests within {_stated(study)}"


def _stated(study: CapacityStudy) -> str:
    return ", ".join(f"{name} {ms:,g} ms" for name, ms in study.slo.limits_ms.items())


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
    return [rate, times, per_s, per_gpu, _share(best), dollars]


def general_notes(study: CapacityStudy) -> list[str]:
    """How the rates were found, and on what they rest."""
    return [
        f"The same {_drawn(study)} at every rate ({study.rate_key}), found to "
        f"{study.precision * 100:g}%. Assumed: the share of good requests falls with the rate.",
        "Share, requests per s and dollars are those of each run's measured window, a steady state.",
    ]


def _drawn(study: CapacityStudy) -> str:
    """What is served at every rate: 'draws, sessions starting for 900 s or longer,'."""
    if study.configured_duration_s is None:
        return "recorded requests"
    return f"draws, sessions starting for {units.significant(study.configured_duration_s)} s or longer,"


def side_notes(study: CapacityStudy, side: Side) -> list[str]:
    """What has to be known about one side: no rate, its interval, a longer run, a share that rises."""
    tried = side.search.tried
    if side.search.outcome is Outcome.UNBOUNDED:
        last = side.samples[max(tried)]
        return [
            f"no bound: at {_rate(study, last.rate)}, {2**MOST_DOUBLINGS:,} times the configured rate, "
            f"{_share(last)} of requests are still good"
        ]
    if side.search.outcome is Outcome.NONE:
        first = side.samples[min(tried)]
        return [
            f"no rate: at {_rate(study, first.rate)}, the configured rate / {2**MOST_DOUBLINGS:,}, only "
            f"{_share(first)} of requests are good; {_too_tight(first)}"
        ]
    if side.search.outcome is Outcome.REFUSED:
        return [_refusal(study, side)]
    best = side.best
    assert best is not None
    notes, rise = [_interval(study, side)], side.search.largest_rise
    if study.configured_duration_s is not None and best.duration_s > study.configured_duration_s:
        notes.append(
            f"lengthened: at this rate sessions start for {units.significant(best.duration_s)} s instead "
            f"of {units.significant(study.configured_duration_s)} s, which hold no steady state of "
            f"{requests_needed(study.slo.share):,} requests"
        )
    if rise is not None:
        low, high = rise
        points = (side.search.shares[high] - side.search.shares[low]) * 100
        notes.append(
            f"not monotone: from {_rate(study, low)} to {_rate(study, high)} the share of good requests "
            f"rises by {units.significant(points, 2)} points, to {units.percent(side.search.shares[high])}"
        )
    if side.search.contradictions:
        at = ", ".join(units.significant(rate) for rate in side.search.contradictions)
        notes.append(f"not the only boundary: good above it, or bad below, at {at}")
    return notes


def _too_tight(sample: RateSample) -> str:
    """Why not even an idle system keeps the limits: the limits, or requests that get no reply."""
    if not sample.unanswered:
        return "the limits are too tight at hardly any load"
    share = units.percent(sample.unanswered / sample.requests)
    return f"{share} get no reply at hardly any load (rejected, or given up at deadline_s)"


def _refusal(study: CapacityStudy, side: Side) -> str:
    """Why there is no rate, and up to which one requests are good."""
    good = [s for s in side.samples.values() if s.verdict is Verdict.GOOD]
    above = side.search.above
    where = "" if above is None else f"at {_rate(study, above)} "
    known = ""
    if good:
        highest = max(good, key=lambda sample: sample.rate)
        known = f"; {_share(highest)} are good at {_rate(study, highest.rate)}, the highest rate known"
    return f"refused: {where}{side.refused}{known}"


def _interval(study: CapacityStudy, side: Side) -> str:
    """Between which rates the limit lies: '95 % interval, sessions/s: 7.95 to 8.31'."""
    return f"95 % interval, {study.unit}: {bounds(side.interval)}"


def bounds(interval: Between) -> str:
    """An interval in words."""
    low, high = interval
    if low is None:
        if high is None:
            return "not told by the rates tried"
        return f"up to {units.significant(high)} (the rates tried tell no lower bound)"
    if high is None:
        return f"from {units.significant(low)} on (the rates tried tell no upper bound)"
    return f"{units.significant(low)} to {units.significant(high)}"


def _share(sample: RateSample) -> str:
    return "none" if sample.good_share is None else units.percent(sample.good_share)


def _rate(study: CapacityStudy, rate: float) -> str:
    return f"{units.significant(rate)} {study.unit}"


@canvas.styled
def figure(study: CapacityStudy, name: str, *, caption: bool = True) -> Figure:
    """Share of good requests over the rate, both sides, the wanted share and the rates found marked."""
    system = study.systems[name]
    title = f"Requests within the limits: {units.shortened(name)}"
    figure, axes = canvas.new(
        title,
        f"arrival rate, {study.unit}",
        f"share of requests{canvas.mark(system.calibrated)}\nwithin {_stated(study)}",
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


def answer(study: CapacityStudy) -> str:
    """The highest rate that a system sustains with its cache, and without."""
    known = [(name, system) for name, system in study.systems.items() if system.with_cache.best is not None]
    if not known:
        return f"No system has a rate with {limits(study)}."
    name, system = max(
        known, key=lambda one: one[1].with_cache.best.rate if one[1].with_cache.best else 0.0
    )
    best, before = system.with_cache.best, system.without_cache.best
    assert best is not None
    out = f"{units.printable(name)} sustains {_rate(study, best.rate)} with its cache"
    if before is not None:
        out += f" instead of {units.significant(before.rate)}"
    if system.ratio is not None:
        out += f", {units.significant(system.ratio)} times as much (95 %: {bounds(system.ratio_interval)})"
    return f"{out}, with {limits(study)}."


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
