"""Figure 9 of the Mooncake paper beside what is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from reports import canvas
from reports.curve_figure import DRAWN_POINTS, capacity_axes
from sim.caches.mooncake_estimate import PUBLISHED, Unit, hit_tokens
from sim.studies.curve import blocks_of, exact
from sim.studies.curve_sampled import log_spaced
from workloads.trace import Trace

RISES, ESTIMATED = (5e5, 1.5e8), 40
"""It is estimated at so many capacities in the range where it rises, and at those published."""


@canvas.styled
def mooncake_figure_9(trace: Trace) -> Figure:
    """The published curve of the Mooncake paper, the estimates in tokens, and the trace's own blocks."""
    figure, axes = canvas.new(
        "Mooncake conversation trace, LRU: published and simulated",
        "capacity, tokens",
        "hit ratio, by tokens",
        height_in=4.2,
    )
    total = sum(trace.input_tokens)
    ends = min(PUBLISHED), max(PUBLISHED)
    at = np.unique(np.concatenate([np.geomspace(*RISES, ESTIMATED), list(PUBLISHED)]).astype(np.int64))
    kinds: tuple[tuple[Unit, str, str, str], ...] = (
        ("token", "-", canvas.BLUE, "estimate, capacity in tokens"),
        ("block", "--", canvas.VERMILION, "estimate, capacity in blocks"),
    )
    for unit, line, colour, label in kinds:
        ratios = [hit_tokens(trace, capacity, unit) / total for capacity in at.tolist()]
        axes.plot(at, ratios, line, color=colour, label=label)
    curve = exact(blocks_of(trace))
    size = curve.blocks.size_tokens
    fine = log_spaced(ends[1] // size, DRAWN_POINTS)
    fine = fine[fine * size >= ends[0]]
    label = f"whole blocks of {size} tokens (exact)"
    axes.step(fine * size, curve.rate_tokens(fine), ":", where="post", color=canvas.GREEN, label=label)
    axes.plot(
        list(PUBLISHED), list(PUBLISHED.values()), "o", color=canvas.BLACK, markersize=4.5,
        label="published (Figure 9)", zorder=5,
    )  # fmt: skip
    axes.set_xlim(ends[0] / 1.3, ends[1] * 1.3)
    capacity_axes(axes, size)
    canvas.legend(figure, columns=2)
    return figure


@canvas.styled
def save_mooncake_figure_9(trace: Trace, path: Path) -> None:
    """Write ``mooncake_figure_9`` as a PNG of 150 dots per inch."""
    mooncake_figure_9(trace).savefig(path, format="png", dpi=150, metadata={"Software": None})
