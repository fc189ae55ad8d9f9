"""A sweep and a search for a reader: sentences, table, figures, pages."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reports import canvas, search, sweep, sweep_figures
from reports.figure_text import text
from sim.jobs.runner import Workers
from sim.studies import tuning
from sim.studies.axes import parse
from sim.studies.goals import Goal, Limit
from sim.studies.sweep import Experiment, Plan, Runs, Sweep
from tests.jobs.sweeping import RATE, written

FIGURES = ["p99_ttft_ms", "prefix_cache_hit_rate", "max_output_tokens_per_s"]
ROUTERS = "systems.own.router=random,{kind: prefix, cache_threshold: 0.5}"


def _tell(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An engine, and a replay without times."""
    folder = tmp_path_factory.mktemp("sweep")
    fixed = ("systems.own.replicas=2", "systems.replay={kind: cache, cache: {kind: block}}")
    return Experiment(written(folder), fixed, 3)


@pytest.fixture(scope="module")
def study(experiment: Experiment) -> Sweep:
    """Four rates, two routers, two systems, three seeds."""
    _, axes = parse([f"{RATE}=1,4,16,64", ROUTERS], None)
    plan = Plan.of(experiment, axes)
    folder = experiment.path.parent / "out"
    failed = plan.compute(folder, Workers(1), _tell, (1, 1))
    return plan.finish(folder, failed, FIGURES, ("cost_usd_total", "p99_ttft_ms"))


def _text(table: object, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_table(study: Sweep) -> None:
    """A line for every system at every point; a figure that a replay does not have is empty, never 0."""
    shown = _text(sweep.table(study))
    assert shown.count("own ") >= 8 and shown.count("replay ") >= 8
    for row in study.rows:
        cells = sweep.figures(study, row)
        assert [cell == "" for cell in cells] == [row.system == "replay", False, row.system == "replay"]
    assert "3 seeds a point" in shown and "Pareto front of cost_usd_total and p99_ttft_ms: " in shown


def test_sentences(study: Sweep) -> None:
    """The best by its mean; hits of a replay do not depend on rates and routers: nothing differs."""
    latency, hits, _ = study.metrics
    best = min((mean for row in study.rows if (mean := row.mean(latency))), key=lambda mean: mean.value)
    shown = text(best.value, "ms", best.half)
    assert sweep.best(study, latency).startswith(f"Lowest p99_ttft_ms: {shown} at ")
    assert sweep.best(study, hits).startswith("Highest prefix_cache_hit_rate: ")
    one_system = [row for row in study.rows if row.system == "replay"]
    assert not any(one_system[0].differs(row, hits) for row in one_system[1:])


def test_figures(study: Sweep) -> None:
    """Numbers make the horizontal axis, every router and system a line, with its interval."""
    pictures = sweep_figures.of(study)
    assert list(pictures) == [
        "p99_ttft_ms",
        "cache-prefix_cache_hit_rate",
        "max_output_tokens_per_s",
        "pareto",
        "throughput-latency",
    ]
    axes = pictures["p99_ttft_ms"].figure.axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "rate_per_s"
    assert axes.get_ylabel() == "p99_ttft_ms (uncalibrated)"
    assert "95 % intervals" in pictures["p99_ttft_ms"].caption
    assert len(pictures["cache-prefix_cache_hit_rate"].figure.axes[0].containers) == 4
    assert "(uncalibrated)" not in pictures["cache-prefix_cache_hit_rate"].figure.axes[0].get_ylabel()
    again = sweep_figures.of(study)["pareto"].figure
    assert canvas.png(again) == canvas.png(pictures["pareto"].figure), "the same bytes"


def test_the_legend_counts_systems_without_a_colour(study: Sweep) -> None:
    """Ten systems share seven colours and grey, which the legend explains."""
    assert study.pareto is not None
    rows = [replace(row, system=f"{row.system}-{n}") for n in range(5) for row in study.rows]
    picture = sweep_figures.pareto(replace(study, rows=rows), study.pareto)
    labels = [entry.get_text() for entry in picture.figure.legends[0].get_texts()]
    assert len(labels) == 1 + len(canvas.LINES) + 1
    assert labels[-1] == "3 others (hover for names)"


def test_one_point(experiment: Experiment) -> None:
    """Without axes the systems are compared, and one seed has no interval."""
    alone = Experiment(experiment.path, experiment.fixed, 1)
    plan = Plan.of(alone, [])
    folder = experiment.path.parent / "out"
    found = plan.finish(
        folder, plan.compute(folder, Workers(1), _tell, (1, 1)), ["prefix_cache_hit_rate"], None
    )
    shown = _text(sweep.table(found))
    assert "±" not in shown and "1 seed a point" in shown
    (picture,) = sweep_figures.of(found).values()
    assert [tick.get_text() for tick in picture.figure.axes[0].get_xticklabels()] == ["own", "replay"]
    assert picture.caption.startswith("One seed")


def test_page(study: Sweep) -> None:
    """Self-contained, everything of the table in it."""
    page = sweep.render(study, sweep_figures.of(study))
    assert page.count("<svg ") == 5
    assert page.count('<tr class="first">') == len(study.pareto.rows if study.pareto else [])
    assert "8 points, 3 seeds each" in page and "Uncalibrated" in page


def test_search_page(experiment: Experiment) -> None:
    """The best first, then what else keeps the limits, then the rest; a limit is escaped."""
    _, axes = parse([f"{RATE}=1,64"], None)
    goals, limits = [Goal.parse("mean_e2el_ms")], [Limit.parse("cost_usd_total < 0.009")]
    wanted = tuning.Wanted(experiment, axes, "own", goals, limits)
    found = tuning.search(wanted, 5, Runs(experiment.path.parent / "out", Workers(1), _tell))
    page = search.render(found)
    assert "cost_usd_total &lt; 0.009" in page
    kept = [wanted.kept(row) for row in found.rows]
    assert f"(the whole grid, 2 rows, {sum(kept)} within the limits)." in search.answer(found)
    nothing = tuning.Wanted(experiment, axes, "own", goals, [Limit.parse("cost_usd_total < 0")])
    found = tuning.search(nothing, 5, Runs(Path(experiment.path.parent / "out"), Workers(1), _tell))
    assert search.answer(found).startswith("Nothing keeps the limits")
    assert search.answer(found).endswith(f"Closest: {search.place(found, search.nearest(found)[0])}.")
    assert _text(search.table(found)).count("own") == 3, "both rows are shown all the same"
