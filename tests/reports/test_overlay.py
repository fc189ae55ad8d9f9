"""Figures of all systems together: what they draw of many."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports import looks, over_time, overlay, plotted, reuse, side_by_side, turns
from sim.result import Result
from sim.results import metrics
from tests.reports.conftest import GPU, Build
from tests.reports.drawn import lengths, points

PRICED = "price: {input_usd_per_1m: 10, cached_input_usd_per_1m: 1, output_usd_per_1m: 30}"
FLEET = """\
  one: &fleet
    kind: engine
    model: llama-3-8b
    hardware: h200
    latency: {kind: roofline, mfu: 1, mbu: 1}
    replicas: 2
    deadline_s: 0.13
    failures: [{replica: 0, at_s: 1, back_s: 2}]
    price: {gpu_hour_usd: 3.5}
  other: {<<: *fleet, router: session, sample_s: 0.5}
"""


@pytest.fixture(scope="module")
def fleet(build: Build) -> Result:
    """Two fleets with a failure and deadlines that are not met; one is sampled."""
    return build(FLEET, sessions=20)


def _only(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def test_distributions_go_through_quantiles(everything: Result) -> None:
    values = np.arange(1.0, 1_001.0)
    x, share = overlay.ecdf(values)
    assert len(x) <= overlay.QUANTILES + 3 and (x[0], x[-1]) == (1.0, 1000.0)
    assert x[share == 0.99] == pytest.approx(np.percentile(values, 99))
    summary, measured = everything.summary(), everything.measured()
    timed = {name: measured[name] for name in ("by-the-hour", "by-the-token", "no-cache")}
    axes = _only(overlay.ttft(timed, looks.of(summary), summary))
    lines = {str(line.get_label()): line for line in axes.lines}
    for name in timed:
        times_ms = metrics.ttft_s(measured[name].records) * 1e3
        assert points(lines[name])[0][-1] == pytest.approx(times_ms.max())
        assert f"{name} without cache" in lines


def test_medians_by_turn(everything: Result) -> None:
    measured = {"by-the-hour": everything.measured()["by-the-hour"]}
    axes = _only(turns.ttft_by_turn(measured, looks.of(everything.summary())))
    records = measured["by-the-hour"].records
    times_ms = metrics.ttft_s(records) * 1e3
    medians = [np.median(times_ms[records.turn == turn]) for turn in (1, 2, 3)]
    drawn = [points(line)[1] for line in axes.lines]
    assert any(y == pytest.approx(medians) for y in drawn if len(y) == 3)


def test_dollars_by_turn_are_those_of_the_bill(everything: Result) -> None:
    """A provider's means by turn are those of summary.json; GPUs by the hour have none by the request."""
    summary: Any = everything.summary()
    paid = turns.paid_by_request(everything)
    assert set(paid) == {"by-the-token", "hosted", "priced-replay"}
    axes = _only(turns.cost_by_turn(paid, looks.of(summary)))
    by_turn = summary["systems"]["hosted"]["cost"]["bill"]["mean_usd_by_turn"]
    want = list(by_turn.values())
    assert any(
        points(line)[1] == pytest.approx(want) for line in axes.lines if len(points(line)[1]) == len(want)
    )


def test_panels_of_tokens(everything: Result) -> None:
    """A panel for each system, titled with its name; the empty places of the grid are not drawn."""
    figure = turns.prompt_tokens(everything.measured())
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == list(everything.runs)


def test_gpu_time(everything: Result) -> None:
    summary: Any = everything.summary()
    axes = _only(overlay.gpu_time(summary, ["by-the-hour", "by-the-token"]))
    widths = [lengths(container) for container in axes.containers]
    for i, name in enumerate(("by-the-hour", "by-the-token")):
        entry = summary["systems"][name]
        assert widths[0][i] * 3600 == pytest.approx(entry["gpu_busy_seconds"])
        assert (widths[0][i] + widths[1][i]) * 3600 == pytest.approx(entry["cost"]["gpu_seconds"])


def test_over_time(fleet: Result) -> None:
    """Queue, running, KV where sampled, hit rate, what got no reply; down replicas are marked."""
    summary = fleet.summary()
    picture = over_time.of_run(fleet, summary, looks.of(summary))
    assert picture is not None and "a replica is down" in picture.caption
    panels = {axes.get_ylabel(): axes for axes in picture.figure.axes}
    assert list(panels) == list(over_time.PANELS)
    assert [str(line.get_label()) for line in panels["KV held"].lines] == ["other"]
    for name, entry in fleet.runs.items():
        (line,) = (line for line in panels["no reply"].lines if line.get_label() == name)
        assert sum(points(line)[1]) == (~entry.records.completed).sum() > 0
    assert all(len(axes.patches) for axes in picture.figure.axes)


def test_requests_in_the_table_tell_what_runs(everything: Result) -> None:
    """At every time what has arrived and not left waits or runs."""
    records = everything.runs["by-the-hour"].records
    lines = over_time._lines(records)
    for (at, waiting), (_, running) in [(lines["waiting"], lines["running"])]:
        here = [int(((records.arrival_s <= t) & (records.finished_s > t)).sum()) for t in at]
        assert (waiting + running).tolist() == here
    assert "no reply" not in lines and "KV held" not in lines


def test_the_curve_of_a_run_has_the_sizes_of_today(everything: Result) -> None:
    summary = everything.summary()
    picture = reuse.of_run(everything, everything.measured(), summary, looks.of(summary))
    assert picture is not None
    dots = {series.name: series for series in plotted.panels(picture.figure)[0].series}
    blocks = everything.runs["by-the-hour"].records.engine
    assert blocks is not None
    dot = dots["by-the-hour"]
    assert dot.x == [blocks.capacity_blocks * 16]
    assert dot.y == [pytest.approx(summary["systems"]["by-the-hour"]["cache"]["prefix_cache_hit_rate"])]
    assert "replay" not in dots, "its cache has no bound"


def test_many_rented_lines_have_names_apart(everything: Result) -> None:
    summary: Any = everything.summary()
    (pair,) = summary["crossovers"]
    names = [f"provider-{i}" for i in range(16)]
    usd = [100 * 1.01**i for i in range(16)]
    summary["crossovers"] = [
        pair | {"rented": name, "rented_usd_per_1000_sessions": paid}
        for name, paid in zip(names, usd, strict=True)
    ]
    seen = looks.of(summary) | dict.fromkeys(names, looks.Look("#B4BAC2"))
    figure = side_by_side.crossover(summary, seen)
    figure.canvas.draw()
    names_alone = [Text.get_window_extent(text) for text in _only(figure).texts]  # without the line to them
    boxes = sorted(names_alone, key=lambda box: box.y0)
    assert len(boxes) == 16
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 + 1 for box in boxes)


def test_an_owned_line_has_the_colour_of_its_system(everything: Result) -> None:
    """Ink may be the colour of a rented one."""
    summary = everything.summary()
    (pair,) = summary["crossovers"]
    seen = looks.of(summary)
    lines = _only(side_by_side.crossover(summary, seen)).lines
    own = {str(line.get_color()) for line in lines if pair["owned"] in str(line.get_label())}
    assert own == {seen[pair["owned"]].colour}
    assert seen[pair["rented"]].colour not in own


def test_figures_do_not_grow_with_systems(build: Build) -> None:
    """Eight systems have as many figures as two."""

    def drawn(count: int) -> list[str]:
        result = build("".join(f"  s{i}: {{{GPU}, {PRICED}}}\n" for i in range(count)), sessions=3)
        summary = result.summary()
        pictures = overlay.of_run(result, result.measured(), summary, looks.of(summary))
        return [picture.figure.axes[0].get_xlabel() for picture in pictures]

    assert len(drawn(2)) == len(drawn(8)) == 6
