"""Pictures of predictions beside measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from reports import canvas, units
from reports.canvas import Picture
from sim.results.records import Floats
from sim.results.validation import EngineValidation

if TYPE_CHECKING:
    from calibration.served.against import Against

EACH = (
    "Every request, predicted over measured (both logarithmic). On the line the prediction is right; above "
    "it, it is too long."
)
SHARE = (
    "Share of requests within the time on the x axis (logarithmic), measured and predicted. Where the "
    "lines lie on each other the whole distribution is met."
)
RUNS = (
    "Error of each run's figures, simulated over real. Dots right of the line: the simulation is too slow. "
    "The black bar is the median."
)
ROUND = (1, 2, 5)
WIDE = 300
"""From this ratio of its ends on, a logarithmic axis shows powers of ten only."""
MOST_DOTS = 5000
"""Of more requests every n-th is drawn."""


def of_requests(against: Against) -> list[Picture]:
    """Every request's TTFT and E2E, and the distributions of TTFT, TPOT and E2E."""
    measured, predicted = against.values()
    calibrated = against.profile.calibrated
    both = {}
    for name in measured:
        known = (measured[name] > 0) & (predicted[name] > 0)
        if known.any():
            both[name] = measured[name][known] * 1e3, predicted[name][known] * 1e3
    dots = {name: pair for name, pair in both.items() if name != "TPOT"}
    pictures = [Picture(each_request(dots, calibrated), EACH)] if dots else []
    return [*pictures, *(Picture(distribution(name, *both[name], calibrated), SHARE) for name in both)]


@canvas.styled
def each_request(dots: dict[str, tuple[Floats, Floats]], calibrated: bool | None) -> Figure:
    """Predicted over measured times of every request, ms."""
    figure, axes = canvas.new(
        "Every request, measured and predicted", "measured, ms", f"predicted, ms{canvas.mark(calibrated)}"
    )
    everything = np.concatenate([values for pair in dots.values() for values in pair])
    ends = [everything.min() * 0.8, everything.max() * 1.25]
    axes.plot(ends, ends, color="#999999", linewidth=1, label="equal")
    for (name, (measured, predicted)), colour, marker in zip(
        dots.items(), (canvas.BLUE, canvas.ORANGE), "os", strict=False
    ):
        every = -(-len(measured) // MOST_DOTS)
        axes.scatter(
            measured[::every], predicted[::every], s=12, marker=marker, color=colour, alpha=0.6, label=name
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_log(axis, ends[1] / ends[0])
    canvas.legend(figure, columns=3)
    return figure


@canvas.styled
def distribution(name: str, measured: Floats, predicted: Floats, calibrated: bool | None) -> Figure:
    """Distributions of a metric, measured and predicted, ms or s."""
    largest = max(measured.max(), predicted.max())
    scale, unit = (units.MS_PER_S, "s") if largest >= 10 * units.MS_PER_S else (1.0, "ms")
    figure, axes = canvas.new(
        f"{name}, measured and predicted", f"{name}, {unit}{canvas.mark(calibrated)}", "share of requests"
    )
    ends = [np.inf, 0.0]
    for label, colour, dashes, values in (
        ("measured", canvas.ORANGE, "-", measured),
        ("predicted", canvas.BLUE, (0, (7, 2)), predicted),
    ):
        x = np.sort(values) / scale
        ends = [min(ends[0], x[0]), max(ends[1], x[-1])]
        p50, p99 = (units.significant(p) for p in np.percentile(x, (50, 99)).tolist())
        axes.plot(
            np.r_[x[0], x],
            np.r_[0.0, np.arange(1, len(x) + 1) / len(x)],
            color=colour,
            linestyle=dashes,
            linewidth=3.0 if label == "measured" else None,  # seen below the other where both are equal
            label=f"{label}: p50 {p50} {unit}, p99 {p99} {unit}",
            drawstyle="steps-post",
        )
    axes.set_xscale("log")
    axes.set_xlim(ends[0] / 1.1, ends[1] * 1.1)
    _plain_log(axes.xaxis, ends[1] / ends[0])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    canvas.legend(figure, columns=1)
    return figure


@canvas.styled
def _errors(found: EngineValidation) -> Figure:
    """The errors of every run, a row for each figure."""
    names = list(found["errors"])[::-1]
    figure, axes = canvas.new("Errors of every run", "simulated / real - 1", "")
    for cache, colour, marker in ((True, canvas.BLUE, "o"), (False, canvas.ORANGE, "s")):
        runs = [run for run in found["runs"] if run["cache"] is cache]
        x = [run["error"][name] for name in names for run in runs]
        y = [place for place in range(len(names)) for _ in runs]
        axes.scatter(
            x, y, s=18, marker=marker, color=colour, alpha=0.7, label=f"cache {'on' if cache else 'off'}"
        )
    medians = [float(np.median([run["error"][name] for run in found["runs"]])) for name in names]
    axes.scatter(medians, range(len(names)), s=160, marker="|", color=canvas.BLACK, label="median")
    axes.axvline(0, color="#999999", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    canvas.legend(figure, columns=3)
    return figure


def of_engine(found: EngineValidation) -> Picture:
    """The errors of every run of a real engine."""
    return Picture(_errors(found), RUNS)


def _plain_log(axis: Axis, ratio: float) -> None:
    """1, 2, 5, 10, ... as they are written."""
    axis.set_major_locator(LogLocator(subs=ROUND if ratio < WIDE else (1,)))
    axis.set_major_formatter(canvas.plain())
    axis.set_minor_formatter(NullFormatter())
