"""The figures: what they say in words, and the numbers that they draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from reports import canvas, figures, looks
from reports.canvas import Picture
from sim.result import Result
from sim.results import metrics
from tests.reports.conftest import Build
from tests.reports.drawn import points

UNITS = ("ms", "s", "min", "h", "GPU-hours", "tokens", "dollars", "turn")
EXPERIMENTS = ("everything", "one_request", "single_turns")


def pictures(result: Result) -> list[Picture]:
    summary = result.summary()
    of_systems = [p for name, run in result.runs.items() for p in figures.of_system(name, run, summary)]
    overview = figures.of_experiment(result.runs, looks.of(summary))
    assert overview is not None
    return [overview, *of_systems]


def only(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def heights(axes: Axes) -> list[float]:
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    return [float(sum(patch.get_height() for patch in of_bar)) for of_bar in zip(*bars, strict=True)]


@pytest.fixture(params=EXPERIMENTS)
def result(request: pytest.FixtureRequest) -> Result:
    found: Result = request.getfixturevalue(request.param)
    return found


def test_every_panel_has_title_units_and_legend(result: Result) -> None:
    for picture in pictures(result):
        assert picture.caption.endswith(".")
        assert picture.figure.legends
        for axes in picture.figure.axes:
            assert axes.get_title(loc="left")
            words = axes.get_xlabel().replace(",", " ").split()
            assert set(words) & set(UNITS), axes.get_xlabel()
            assert axes.get_ylabel() or not axes.yaxis.get_tick_params().get("labelleft", True)
            assert axes.has_data()


def test_texts_stay_inside_the_figure(everything: Result) -> None:
    run = everything.runs["by-the-hour"]
    name = "x" * 100
    summary = everything.summary()
    for part in ("systems", "no_cache"):
        summary[part][name] = summary[part]["by-the-hour"]
    overview = figures.of_experiment({name: run}, {name: looks.Look(canvas.BLUE)})
    assert overview is not None
    for picture in [overview, *figures.of_system(name, run, summary)]:
        picture.figure.canvas.draw()
        frame = picture.figure.bbox
        axes: Any = only(picture.figure)
        for text in (axes.title, axes._left_title, axes.xaxis.label, *axes.texts):
            box = text.get_window_extent()
            assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1, text.get_text()


def test_a_replay_has_neither_times_nor_gpus(everything: Result) -> None:
    def titles(name: str) -> list[str]:
        made = figures.of_system(name, everything.runs[name], everything.summary())
        return [only(p.figure).get_title(loc="left").split(":")[0] for p in made]

    assert titles("replay") == ["Prompt tokens by turn"]
    assert titles("priced-replay") == ["Prompt tokens by turn", "Bill at token prices"]
    assert titles("by-the-hour") == ["Time to first token", "Prompt tokens by turn", "GPU time"]
    assert titles("by-the-token")[-1] == "Bill at token prices"


def test_uncalibrated_times_are_marked(everything: Result) -> None:
    run, summary = everything.runs["by-the-hour"], everything.summary()
    assert only(figures.ttft("by-the-hour", run)).get_xlabel().endswith("ms (uncalibrated)")
    assert only(figures.gpu_time("by-the-hour", summary)).get_xlabel() == "GPU-hours (uncalibrated)"
    summary["systems"]["by-the-hour"]["calibrated"] = True
    assert only(figures.gpu_time("by-the-hour", summary)).get_xlabel() == "GPU-hours"


def test_ttft_curves_run_from_the_fastest_to_the_slowest(everything: Result) -> None:
    run = everything.runs["by-the-hour"]
    axes = only(figures.ttft("by-the-hour", run))
    for line, records in zip(axes.lines, (run.twin, run.records), strict=True):
        times_ms = (records.first_token_s - records.arrival_s) * 1e3
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert x[0] == pytest.approx(times_ms.min()) and x[-1] == pytest.approx(times_ms.max())
        assert y[0] == 0 and y[-1] == 1
    assert axes.get_xscale() == "log"


def test_percentiles_of_ttft_in_the_legend(everything: Result) -> None:
    """Twelve requests of 1, 2, ... 12 ms: the median is 6.5, and p99 lies 0.89 of the way from 11 to 12."""
    run = everything.runs["by-the-hour"]
    records = replace(run.records, first_token_s=run.records.arrival_s + np.arange(1, 13) / 1000)
    axes = only(figures.ttft("by-the-hour", replace(run, records=records, twin=records)))
    assert {str(line.get_label()).partition(": ")[2] for line in axes.lines} == {"p50 6.50 ms, p99 11.9 ms"}


def test_bars_by_turn_add_up(everything: Result) -> None:
    run = everything.runs["replay"]
    axes = only(figures.prompt_tokens("replay", run))
    sent, hits = (
        [column[run.records.turn == turn].mean() for turn in (1, 2, 3)]
        for column in (run.records.input_tokens, run.records.cache_read_input_tokens)
    )
    assert heights(axes) == pytest.approx(sent)
    shares = [text.get_text() for text in axes.texts]
    assert shares == [f"{hit / whole:.0%}" for hit, whole in zip(hits, sent, strict=True)]
    assert hits[2] > sent[2] / 2, "so that the share computed would be another"


def test_late_turns_share_a_bar(build: Callable[..., Result]) -> None:
    result = build("  replay: {kind: cache, cache: {kind: block}}\n", sessions=1, turns=20)
    run = result.runs["replay"]
    axes = only(figures.prompt_tokens("replay", run))
    assert [label.get_text() for label in axes.get_xticklabels()][-2:] == ["12", ">12"]
    assert heights(axes)[-1] == pytest.approx(run.records.input_tokens[run.records.turn > 12].mean())


def test_without_sessions_bars_go_by_length(single_turns: Result) -> None:
    run = single_turns.runs["engine"]
    axes = only(figures.prompt_tokens("engine", run))
    assert axes.get_xlabel() == "length of the prompt up to, tokens"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["128"]  # 50 + 60 tokens
    assert heights(axes) == pytest.approx([1.0]), "of all prompt tokens"


def test_length_buckets() -> None:
    group, names = figures._length_buckets(np.array([1, 2, 3, 1024, 1025, 5000]))
    assert names == ["16", "32", "64", "128", "256", "512", "1k", "2k", "4k", "8k"]
    assert group.tolist() == [0, 0, 0, 6, 7, 9]


def test_running_totals_end_at_the_sums(everything: Result) -> None:
    axes = only(figures.computed_over_time(everything.runs, looks.of(everything.summary())))
    ends = {str(line.get_label()): float(np.asarray(line.get_ydata())[-1]) for line in axes.lines}
    for name, run in everything.runs.items():
        sent = run.records.input_tokens.sum()
        assert ends[name] == pytest.approx(run.records.computed_tokens.sum() / sent)
    assert {end for name, end in ends.items() if name.endswith(" without cache")} == {1.0}
    (legend,) = axes.get_figure().legends  # type: ignore[union-attr]
    assert len(legend.get_texts()) == 1 + len(everything.runs)


@pytest.mark.parametrize(
    ("latest_s", "unit", "latest"),
    [(299, "s", 299), (300, "min", 5), (7199, "min", 7199 / 60), (7200, "h", 2)],
)
def test_the_unit_of_time(everything: Result, latest_s: float, unit: str, latest: float) -> None:
    """Seconds up to five minutes, minutes up to two hours."""
    run = everything.runs["replay"]
    later = [replace(r, arrival_s=np.linspace(0, latest_s, len(r))) for r in (run.records, run.twin)]
    seen = {"one": looks.Look(canvas.BLUE)}
    axes = only(figures.computed_over_time({"one": replace(run, records=later[0], twin=later[1])}, seen))
    assert axes.get_xlabel() == f"arrival time, {unit}"
    assert [points(line)[0][-1] for line in axes.lines] == pytest.approx([latest] * 2)


def test_gpu_hours_are_busy_or_idle(everything: Result) -> None:
    """Both bars, without and with the cache: the busy part, and all that was held."""
    summary: Any = everything.summary()
    name = "by-the-hour"
    axes = only(figures.gpu_time(name, summary))
    busy, idle = ([bar.get_width() for bar in c] for c in axes.containers if isinstance(c, BarContainer))
    entries = [summary[part][name] for part in ("no_cache", "systems")]
    assert busy == pytest.approx([entry["gpu_busy_seconds"] / 3600 for entry in entries])
    held = [entry["cost"]["gpu_seconds"] / 3600 for entry in entries]
    assert [a + b for a, b in zip(busy, idle, strict=True)] == pytest.approx(held)


def test_the_bill_adds_up(everything: Result) -> None:
    summary: Any = everything.summary()
    axes = only(figures.token_bill("priced-replay", everything.runs["priced-replay"]))
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    totals = [sum(p.get_width() for p in of_bar) for of_bar in zip(*bars, strict=True)]
    want = [summary[part]["priced-replay"]["cost"]["cost_usd_total"] for part in ("no_cache", "systems")]
    assert totals == pytest.approx(want)


def test_same_run_same_bytes(everything: Result) -> None:
    name = "by-the-token"
    run, summary = everything.runs[name], everything.summary()
    once, twice = ([p.figure for p in figures.of_system(name, run, summary)] for _ in range(2))
    assert len(once) == 4
    for first, second in zip(once, twice, strict=True):
        assert canvas.svg(first) == canvas.svg(second)
        assert canvas.png(first) == canvas.png(second)


def test_own_matplotlib_settings_do_not_matter(everything: Result) -> None:
    import matplotlib

    run = everything.runs["replay"]
    plain = canvas.svg(figures.prompt_tokens("replay", run))
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "svg.hashsalt": "other"}):
        assert canvas.svg(figures.prompt_tokens("replay", run)) == plain


def test_many_points_are_thinned() -> None:
    kept = figures._thinned(100_000)
    assert len(kept) <= figures.CURVE_POINTS
    assert kept[0] == 0 and kept[-1] == 99_999
    assert figures._thinned(1).tolist() == [0]


def test_of_many_systems_the_best_have_colours(everything: Result) -> None:
    """The best ones and the baseline have a colour each, the others are grey and named where one points."""
    summary: Any = everything.summary()
    names = [f"system-{i}" for i in range(17)]
    summary["systems"] = dict.fromkeys(names, summary["systems"]["replay"])
    rows = [{"system": name} for name in reversed(names)]
    summary["comparison"] = {**summary["comparison"], "rows": rows, "baseline": "system-3"}
    seen = looks.of(summary)
    assert list(seen) == names[::-1]
    coloured = [name for name, look in seen.items() if look.named]
    assert coloured == [*names[:10:-1], "system-3"]
    assert len({seen[name].colour for name in coloured}) == looks.MOST == len(coloured)
    run = everything.runs["replay"]
    figure = figures.computed_over_time(dict.fromkeys(names, run), seen)
    labels = {str(line.get_label()) for line in only(figure).get_lines()}
    assert labels == {*names, "system-0 without cache"}, "equal twins are one line"
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [*coloured, "10 others (hover for names)", "without cache"]


def test_the_legend_has_the_unit_of_the_axis(build: Build) -> None:
    """Seconds, but below ten: the axis is in ms, and so is the legend."""
    one_at_a_time = "engine: {max_num_seqs: 1}, latency: {kind: constant, iteration_s: 0.01}"
    engine = f"kind: engine, model: llama-3-8b, hardware: h200, {one_at_a_time}"
    result = build(f"  one: {{{engine}}}\n", sessions=8)
    assert 1.0 < metrics.ttft_s(result.runs["one"].records).max() < 10.0
    axes = only(figures.ttft("one", result.runs["one"]))
    unit = axes.get_xlabel().split(", ")[1].split(" ")[0]
    for text in (str(label) for label in axes.get_legend_handles_labels()[1]):
        assert text.split(": ", 1)[1].split(" ")[2].rstrip(",") == unit
        assert text.endswith(f" {unit}")


@pytest.mark.parametrize(
    ("ends", "shown"),
    [((650, 1900), {"700", "800", "900", "1,000"}), ((13, 700), {"20", "50", "100", "200", "500"})],
)
def test_a_logarithmic_axis_has_numbers_to_read(ends: tuple[float, float], shown: set[str]) -> None:
    """Between 650 and 1,900 there is one of 1, 2, 5, 10: it says nothing of the scale by itself."""
    figure, axes = canvas.new("", "", "")
    axes.set_xlim(*ends)
    canvas.log(axes, "x")
    figure.canvas.draw()
    low, high = ends
    ticks = {t.get_text(): t.get_position()[0] for t in axes.get_xticklabels()}
    assert {text for text, at in ticks.items() if low <= at <= high} == shown
