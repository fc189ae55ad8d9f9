"""Figures of a measured profile: its held-out iterations, what is left of them, and simpler models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from reports import calibration_page, canvas, files
from reports.canvas import Picture
from sim.hardware.profile import Profile

if TYPE_CHECKING:
    from calibration.build import Built

BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "pad": 1}
MARKS = {"prefill": "o", "cached prefill": "s", "decode": "^", "mixed": "D"}


@canvas.styled
def measured_against_predicted(built: Built) -> Figure:
    """Held-out iterations: predicted over measured time, ms, by family."""
    figure, axes = canvas.new(
        "Held-out iterations, measured and predicted", "measured, ms (median of passes)", "predicted, ms"
    )
    measured, predicted = built.heldout.median_s * 1e3, built.predicted_s * 1e3
    ends = [min(measured.min(), predicted.min()) * 0.8, max(measured.max(), predicted.max()) * 1.25]
    axes.plot(ends, ends, color="#999999", linewidth=1, label="equal")
    for family, colour, where in _families(built):
        axes.scatter(
            measured[where], predicted[where], s=18, marker=MARKS[family], color=colour, label=family
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_log(axis)
    canvas.legend(figure, columns=3)
    return figure


@canvas.styled
def residuals(built: Built) -> Figure:
    """Relative errors of held-out iterations over their time, and the noise floor."""
    figure, axes = canvas.new(
        "Errors of held-out iterations", "measured, ms (median of passes)", "predicted / measured - 1"
    )
    measured = built.heldout.median_s
    error = built.predicted_s / measured - 1
    heldout = built.profile.heldout
    assert heldout is not None
    floor = heldout.noise_floor
    axes.axhspan(-floor, floor, color="#E6E6E6", label=f"noise floor {floor:.1%}")
    low, high = built.fitted.interval(built.heldout.steps)
    for family, colour, where in _families(built):
        x = measured[where] * 1e3
        axes.scatter(x, error[where], s=18, marker=MARKS[family], color=colour, label=family)
        axes.vlines(x, low[where] / measured[where] - 1, high[where] / measured[where] - 1, color=colour,
                    linewidth=0.7)  # fmt: skip
    axes.axhline(0, color="#999999", linewidth=1)
    axes.set_xscale("log")
    _plain_log(axes.xaxis)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    canvas.legend(figure, columns=3)
    return figure


@canvas.styled
def models(profile: Profile) -> Figure:
    """Held-out error of this profile beside simpler models."""
    heldout = profile.heldout
    assert heldout is not None
    figure, axes = canvas.new("Mean error on held-out iterations", "mean absolute error", "")
    rows = {"this profile": heldout.errors, **heldout.baselines}
    names = list(rows)[::-1]
    sizes = [rows[name].mape for name in names]
    colours = [canvas.WITH if name == "this profile" else canvas.IDLE for name in names]
    bars = axes.barh(names, sizes, color=colours)
    axes.bar_label(bars, [f"{size:.1%}" for size in sizes], padding=3, bbox=BEHIND_TEXT)
    axes.axvline(heldout.noise_floor, color=canvas.BLACK, linestyle=":", label="noise floor")
    axes.set_xlim(0, max(*sizes, heldout.noise_floor) * 1.18)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    canvas.legend(figure, columns=1)
    return figure


CAPTIONS = {
    "measured-against-predicted": "Iterations that the fit never saw: on the line the prediction is right.",
    "residuals": "Relative errors of the same iterations with the 90 % interval of each prediction. Inside "
    "the grey band an error cannot be told from noise.",
    "models": "The same iterations predicted by simpler models of the same samples, and by a roofline.",
}


def write(built: Built, folder: Path) -> dict[Path, str]:
    """The figures of a profile as PNG and its page in ``folder``: their paths and what they are."""
    figures = (measured_against_predicted(built), residuals(built), models(built.profile))
    names = [f"{name}.png" for name in CAPTIONS]
    contents = dict(zip(names, map(canvas.png, figures), strict=True))
    pictures = [Picture(*pair) for pair in zip(figures, CAPTIONS.values(), strict=True)]
    contents["profile.html"] = calibration_page.render(built.profile, pictures).encode()
    files.put(folder, contents)
    captions = dict(zip(names, CAPTIONS.values(), strict=True))
    return {
        folder / name: captions.get(name, "everything about the profile, as a page") for name in contents
    }


def _plain_log(axis: Axis) -> None:
    """1, 2, 5, 10, ... as they are written."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(canvas.plain())
    axis.set_minor_formatter(NullFormatter())


def _families(built: Built) -> list[tuple[str, str, NDArray[np.bool_]]]:
    family = np.array([step.family for step in built.heldout.steps])
    return [(name, colour, family == name) for name, colour in zip(MARKS, canvas.LINES, strict=False)]
