# ruff: noqa: E501 (tables of cases)
"""The best settings within limits: whole grids, Optuna's choice, and the fewest GPUs."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sim import load_config, run
from sim.jobs.runner import Workers
from sim.studies.axes import grid, parse
from sim.studies.fewest_gpus import fewest_gpus, least
from sim.studies.goals import Goal, Limit, limits_of
from sim.studies.metric import metric
from sim.studies.sweep import Experiment, Runs
from sim.studies.tuning import JOURNAL, Search, Wanted, search
from tests.jobs.sweeping import RATE, REPLICAS, written
from tests.refusing import Cli, refused
from workloads.errors import InputError

SEQS = "systems.own.engine.max_num_seqs"


class Stopped(Exception):
    """Somebody pulls the plug."""


def _wanted(folder: Path, goals: list[str], limits: list[str], *settings: str) -> Wanted:
    fixed, axes = parse(settings, None)
    experiment = Experiment(written(folder), tuple(fixed), 1)
    config = experiment.first(axes)
    return Wanted(experiment, axes, None, [Goal.parse(goal) for goal in goals], limits_of(config, limits))


def _runs(folder: Path, stop_after: int | None = None) -> Runs:
    """Runs in ``folder`` that are stopped once so many jobs are done."""
    seen = 0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal seen
        seen += done > 0
        if stop_after is not None and seen > stop_after:
            raise Stopped

    return Runs(folder, Workers(1), tell)


def test_the_whole_grid(tmp_path: Path) -> None:
    """What is called best is what no run of the grid beats within the limits, by runs of its own."""
    axes = (f"{RATE}=1,8,64", f"{SEQS}=1,2,8")
    limits = ["p99_ttft_ms <= 40"]
    found = search(
        _wanted(tmp_path, ["cost_usd_total", "mean_e2el_ms"], limits, *axes), 9, _runs(tmp_path / "s")
    )
    assert found.whole and found.trials == len(found.rows) == 9
    costs: dict[str, tuple[float, float]] = {}
    for rate, seqs in product((1, 8, 64), (1, 2, 8)):
        entry: Any = run(
            load_config(tmp_path / "small.yaml", [f"{RATE}={rate}", f"{SEQS}={seqs}"])
        ).summary()
        entry = entry["systems"]["own"]
        if entry["p99_ttft_ms"] <= 40:
            costs[f"rate_per_s = {rate}, max_num_seqs = {seqs}"] = (
                entry["cost"]["cost_usd_total"],
                entry["mean_e2el_ms"],
            )
    assert 0 < len(costs) < 9, "the limit is to leave some out"
    expected = {
        name
        for name, (x, y) in costs.items()
        if not any((a, b) != (x, y) and a <= x and b <= y for a, b in costs.values())
    }
    best = [str(found.rows[i].point) for i in found.best]
    assert set(best) == expected and len(best) == len(expected)
    assert [costs[name] for name in best] == sorted(costs[name] for name in best)


LARGE = (f"{RATE}=1,2,4,8,16,32", f"{SEQS}=1..8", "systems.own.router=random,round_robin,prefix")


def _large(folder: Path) -> Wanted:
    return _wanted(folder, ["mean_e2el_ms"], ["max_concurrent_requests <= 6"], *LARGE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Twelve trials of 144 combinations."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return search(_large(folder), 12, _runs(folder / "s"))


def test_optuna_chooses(undisturbed: Search) -> None:
    """So many trials of the grid, the best of those within the limits."""
    assert not undisturbed.whole and undisturbed.trials == 12 and 6 < len(undisturbed.rows) <= 12
    wanted = undisturbed.wanted
    kept = [row for row in undisturbed.rows if wanted.kept(row)]
    assert 0 < len(kept) < len(undisturbed.rows)
    means = [mean.value for row in kept if (mean := row.mean(metric("mean_e2el_ms", "")))]
    best = undisturbed.rows[undisturbed.best[0]].mean(metric("mean_e2el_ms", ""))
    assert best is not None and best.value == min(means)


@pytest.mark.parametrize("after", [1, 9])
def test_stopped_and_gone_on(undisturbed: Search, tmp_path: Path, after: int) -> None:
    """Stopped within a batch, the journal cut within a line: the same trials in the end."""
    wanted = _large(tmp_path)
    with pytest.raises(Stopped):
        search(wanted, 12, _runs(tmp_path / "s", stop_after=after))
    journal = tmp_path / "s" / JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "wor')
    assert search(wanted, 12, _runs(tmp_path / "s")).summary() == undisturbed.summary()
    assert search(wanted, 12, _runs(tmp_path / "s", stop_after=1)).summary() == undisturbed.summary()


def _answered(most: int, threshold: int, asked: list[int]) -> int | None:
    """What the search finds where ``threshold`` and all above are enough; ``asked`` takes its questions."""
    quest = least(most)
    number = next(quest)
    while True:
        asked.append(number)
        try:
            number = quest.send(number >= threshold)
        except StopIteration as end:
            found: int | None = end.value
            return found


def test_least() -> None:
    """For every threshold the least number, in at most twice its logarithm of questions."""
    for most, threshold in product((1, 2, 7, 64), range(1, 70)):
        asked: list[int] = []
        assert _answered(most, threshold, asked) == (threshold if threshold <= most else None)
        assert len(asked) == len(set(asked)) <= 2 * threshold.bit_length() + 1


LOADED = (
    "workload.sessions=40", f"{RATE}=200", "workload.think_time_s=0.05", "workload.system_prompt.tokens=4000",
    f"{SEQS}=4", "systems.own.router=round_robin", "slo={e2el_ms: 700, share: 0.9}",
)  # fmt: skip
KINDS = "systems.own.hardware=h200,l40s"


def test_fewest_gpus(tmp_path: Path) -> None:
    """The recipe's answer is that of all fleets, one after the other, with the cache and without."""
    fixed, axes = parse([KINDS], None)
    experiment = Experiment(written(tmp_path), LOADED, 1)
    limits = limits_of(experiment.first(axes), [])
    fleets = fewest_gpus(experiment, axes, None, limits, 8, _runs(tmp_path / "s"))
    assert fleets.system == "own" and not fixed and not fleets.failures
    share = metric("good_share", ""), metric("no_cache.good_share", "")
    found = {
        (str(point), side): size["replicas"]
        for point, sizes in fleets.kinds
        for side, size in sizes.items()
    }
    for point in grid(axes):
        shares = []
        for replicas in range(1, 9):
            settings = [*LOADED, *point.assignments, f"{REPLICAS}={replicas}"]
            summary = run(load_config(tmp_path / "small.yaml", settings)).summary()
            shares.append([each.of(summary, "own") for each in share])
        for i, side in enumerate(("with_cache", "without_cache")):
            enough = [n for n, both in enumerate(shares, 1) if (both[i] or 0) >= 0.9]
            assert found[str(point), side] == (min(enough) if enough else None), side
    assert len(set(found.values())) == 3, "two numbers and none: kinds and sides that are alike show little"
    best = fleets.best("with_cache")
    assert best is not None
    assert best[1]["gpus"] == min(size["with_cache"]["gpus"] or 99 for _, size in fleets.kinds)


def test_fewest_gpus_of_ones_own_kind(cli_here: Cli, tmp_path: Path) -> None:
    """A GPU of a file is among the kinds; all are paid one price by the hour, whatever time was measured."""
    gpu = "{name: Mine, memory_mib: 46068, memory_bandwidth_gb_per_s: 864, bf16_tflops: 120, source: mine}"
    (tmp_path / "mine.yaml").write_text(gpu)
    own = ("systems.own.hardware=mine.yaml", "systems.own.price={gpu_hour_usd: 1.5}", "slo={e2el_ms: 1e6}")
    settings = [part for setting in own for part in ("--set", setting)]
    args = ("--recipe", "fewest-gpus", "--most", "1", "--jobs", "1", "--out", "out")
    done = cli_here("search", written(tmp_path), *settings, *args)
    assert done.returncode == 0, done.stderr
    kinds = json.loads((tmp_path / "out" / "fewest-gpus.json").read_text())["kinds"]
    paid = {
        kind["point"]["systems.own.hardware"]: kind["with_cache"]["cost_usd_per_hour"] for kind in kinds
    }
    assert next(iter(paid)) == "mine.yaml" and paid == pytest.approx(dict.fromkeys(paid, 1.5))
    assert "All kinds are paid systems.own.price" in done.stdout
    assert "All kinds are paid systems.own.price" in (tmp_path / "out" / "fewest-gpus.html").read_text()


def test_fewest_gpus_of_a_day(cli_here: Cli, tmp_path: Path) -> None:
    """Arrivals that follow the clock, every GPU of the catalogue, some of which cannot hold the model."""
    day = "{process: profile, step_s: 2, rates_per_s: [1, 20, 1]}"
    args = (
        "--set",
        f"workload.arrival={day}",
        "--set",
        "systems.own.model=qwen2.5-32b",
        "--recipe",
        "fewest-gpus",
    )
    done = cli_here("search", written(tmp_path), *args, "--most", "2", "--out", "out", "--jobs", "1")
    assert done.returncode == 2, "some GPUs are too small"
    summary = json.loads((tmp_path / "out" / "fewest-gpus.json").read_text())
    key = "systems.own.hardware"
    small = {failure["point"][key]: failure["message"] for failure in summary["failures"]}
    assert "does not fit" in small["l4"] and "h200" in {kind["point"][key] for kind in summary["kinds"]}
    assert not small.keys() & {kind["point"][key] for kind in summary["kinds"]}
    assert (tmp_path / "out" / "fewest-gpus.png").exists()
    assert "uncalibrated" in (tmp_path / "out" / "fewest-gpus.html").read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), ("--goal is missing; allowed: a figure",)),
        (("--goal", "gpus", "--goal", "max:gpus"), ("--goal gpus is given twice; allowed: once",)),
        (("--goal", "best:gpus"), ("--goal best:gpus: allowed: FIGURE, min:FIGURE or max:FIGURE",)),
        (("--goal", "gpu"), ("--goal gpu: no figure 'gpu'; did you mean 'gpus'?",)),
        (("--goal", "gpus", "--limit", "p99_ttft_ms < 2x"), ("--limit p99_ttft_ms < 2x: allowed: FIGURE",)),
        (("--goal", "gpus", "--limit", "p99_ttft_ms"), ("--limit p99_ttft_ms: not a condition",)),
        (("--goal", "gpus", "--trials", "0"), ("--trials 0; allowed: 1 to 100,000",)),
        (("--goal", "gpus", "--system", "mine"), ("--system mine: allowed: own",)),
        (("--recipe", "fewest-gpus", "--most", "0"), ("--most 0; allowed: 1 to",)),
        (("--recipe", "fewest-gpus", "--set", "slo=null"), ("limits are missing; allowed: slo",)),
        (("--recipe", "fewest-gpus", "--set", "systems.own.pools=[{replicas: 2}]"), ("systems.own.pools: the recipe",)),
        (("--recipe", "fewest-gpus", "--set", "systems.own={kind: cache, cache: {kind: ideal}}"), ("--system is missing",)),
    ],
)  # fmt: skip
def test_refused(cli_here: Cli, tmp_path: Path, args: tuple[str, ...], said: tuple[str, ...]) -> None:
    """One message, and nothing is written."""
    refused(cli_here, tmp_path, "search", written(tmp_path), *args, "--out", "out", said=said)


def test_limits() -> None:
    """Which way a limit is broken, and by what share of it."""
    with pytest.raises(InputError, match="--limit own: gpus > 3"):
        Limit.parse("own: gpus > 3")
    assert Limit.parse("good_share>=99%").bound == 0.99
    assert Limit.parse("gpus < 3").without_cache().metric.path == "no_cache.gpus"
