# ruff: noqa: E501 (tables of cases)
"""Finished runs side by side, and conditions on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim import load_config, run
from sim.studies.compare import compare
from tests.jobs.sweeping import written
from tests.refusing import Cli, refused


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of a real run; the tests below change single figures of it."""
    return run(load_config(written(tmp_path_factory.mktemp("config")))).summary()


def _folder(tmp_path: Path, name: str, summary: Any, **systems: dict[str, float | None]) -> Path:
    """A run with ``systems``, each like the real one but for some figures."""
    one = summary["systems"]["own"]
    content = {
        **summary,
        "systems": {system: {**one, **figures} for system, figures in systems.items()},
        "no_cache": dict.fromkeys(systems, summary["no_cache"]["own"]),
        "savings": dict.fromkeys(systems, summary["savings"]["own"]),
    }
    folder = tmp_path / name
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("p99_ttft_ms > 1.1x", 1),
        ("p99_ttft_ms > 1.25x", 0),
        ("p99_ttft_ms >= 1.25x", 1),
        ("p99_ttft_ms > 99", 1),
        ("p99_ttft_ms>100", 0),
        ("own: p99_ttft_ms >= 1e2", 1),
        ("p99_ttft_ms < 1x", 0),
        ("p99_ttft_ms <= 1.25x", 1),
        ("prefix_cache_hit_rate > 100%", 0),
        ("cache.prefix_cache_hit_rate <= 100%", 1),
        ("failed > 1x", 0),
        ("no_cache.p99_ttft_ms < 1x", 0),
        ("savings.p99_ttft_ms.saved > 1x", 0),
    ],
)
def test_exit_codes(cli_here: Cli, tmp_path: Path, summary: Any, condition: str, code: int) -> None:
    """80 to 100 ms is 1.25 times; what is said names condition, figures, system and run."""
    _folder(tmp_path, "before", summary, own={"p99_ttft_ms": 80.0})
    _folder(tmp_path, "after", summary, own={"p99_ttft_ms": 100.0})
    done = cli_here("compare", "before", "after", "--fail-if", condition)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(f"fails: {condition}: " if code else "")
    assert "100 ms" in done.stdout and "1.25 x" in done.stdout


def test_the_baseline_is_the_first_run_and_fails_no_condition(
    cli_here: Cli, tmp_path: Path, summary: Any
) -> None:
    """Conditions are about all runs behind it, by the name of the system."""
    for name, one, two in (("a", 300.0, 10.0), ("b", 300.0, 20.0), ("c", 100.0, 30.0)):
        _folder(tmp_path, name, summary, one={"p99_ttft_ms": one}, two={"p99_ttft_ms": two})
    done = cli_here("compare", "a", "b", "c", "--quiet", "--fail-if", "p99_ttft_ms > 200")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "fails: p99_ttft_ms > 200: 300 ms for one in b\n"
    done = cli_here("compare", "a", "b", "c", "--quiet", "--fail-if", "two: p99_ttft_ms >= 2x")
    assert done.stderr.splitlines() == [
        "fails: two: p99_ttft_ms >= 2x: 20.0 ms for two in b, 2.00 times the baseline's 10.0 ms",
        "fails: two: p99_ttft_ms >= 2x: 30.0 ms for two in c, 3.00 times the baseline's 10.0 ms",
    ]


def test_one_run_is_checked_by_itself(cli_here: Cli, tmp_path: Path, summary: Any) -> None:
    """An absolute bound needs no baseline, a ratio does."""
    _folder(tmp_path, "only", summary, own={"p99_ttft_ms": 80.0})
    assert cli_here("compare", "only", "--fail-if", "p99_ttft_ms > 79").returncode == 1
    said = ("--fail-if p99_ttft_ms > 1x: needs a baseline", "two or more runs")
    refused(cli_here, tmp_path, "compare", "only", "--fail-if", "p99_ttft_ms > 1x", said=said)


def test_what_is_not_alike_is_said(tmp_path: Path, summary: Any) -> None:
    """Other seeds, other requests, systems that only one run has."""
    a = _folder(tmp_path, "a", summary, own={}, old={})
    b = _folder(tmp_path, "b", {**summary, "seed": 9, "requests": 1}, own={}, new={})
    study = compare([a, b], [], [])
    assert study.systems == ["own"]
    assert study.notes() == [
        "The runs have different seeds: 1, 9.",
        f"The runs have different numbers of requests: {summary['requests']}, 1.",
        f"Only in {a}: old.",
        f"Only in {b}: new.",
    ]


def test_dollars_of_unlike_times_are_said(tmp_path: Path, summary: Any) -> None:
    """Where a sum over the measured time is shown, and the times differ by more than a hundredth."""
    a = _folder(tmp_path, "a", summary, own={"duration": 100.0})
    b = _folder(tmp_path, "b", summary, own={"duration": 80.0})
    (note,) = compare([a, b], ["cost_usd_total"], []).notes()
    assert note.startswith("own is measured for 100 s, 80 s: its dollars are of that time")
    assert not compare([a, b], ["p99_ttft_ms"], []).notes()
    assert not compare([a, a], ["cost_usd_total"], []).notes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("a", "nowhere"), ("nowhere/summary.json: No such file", "folders that `run` wrote")),
        (("a", "text"), ("text/summary.json: not JSON",)),
        (("a", "deep"), ("deep/summary.json: nested too deeply",)),
        (("a", "list"), ("list/summary.json: []; allowed: folders that `run` wrote",)),
        (("a", "part"), ("part/summary.json: not the summary of a run",)),
        (("a", "twins", "--metric", "no_cache.mean_ttft_ms"), ("twins/summary.json: not the summary of a run",)),
        (("a", "seeds"), ("seeds/summary.json: not the summary of a run",)),
        (("a", "cost", "--metric", "gpus"), ("cost/summary.json: not the summary of a run",)),
        (("a", "b"), ("no system is in two of the runs (a: own; b: other)", "the same name")),
        (("a", "a", "--metric", "p99_tft_ms"), ("--metric: no figure 'p99_tft_ms'; did you mean 'p99_ttft_ms'?",)),
        (("a", "a", "--metric", "saved_ratio"), ("--metric: 'saved_ratio' may be savings.",)),
        (("a", "a", "--metric", "simulation_s"), ("--metric: no figure 'simulation_s'",)),
        (("a", "a", "--fail-if", "p99_ttft_ms"), ("--fail-if p99_ttft_ms: not a condition; allowed: [SYSTEM:]",)),
        (("a", "a", "--fail-if", "p99_ttft_ms > 1.1.1x"), ("not a condition",)),
        (("a", "a", "--fail-if", "p99_ttft_ms > 1e999"), ("not a condition",)),
        (("a", "a", "--fail-if", "p99_ttft_ms > 5%"), ("p99_ttft_ms is no share",)),
        (("a", "a", "--fail-if", "x: p99_ttft_ms > 5"), ("no system 'x' in a; allowed: own",)),
        (("a", "b", "--fail-if", "p99_ttft_ms > 5"), ("no system",)),
        (("a", "c", "--fail-if", "p99_ttft_ms > 1x"), ("own in c has no p99_ttft_ms",)),
    ],
)  # fmt: skip
def test_refused(
    cli_here: Cli, tmp_path: Path, summary: Any, args: tuple[str, ...], said: tuple[str, ...]
) -> None:
    """A check that cannot be made is bad input, exit code 2, and never a pass."""
    _folder(tmp_path, "a", summary, own={})
    _folder(tmp_path, "b", summary, other={})
    _folder(tmp_path, "c", summary, own={"p99_ttft_ms": None})
    part = {"systems": {"own": 3}, "no_cache": {"own": {}}, "savings": {"own": {}}}
    twins = summary | {"no_cache": {}}
    cost = summary | {"systems": {"own": summary["systems"]["own"] | {"cost": {}}}}
    damaged = {"part": part, "twins": twins, "cost": cost, "seeds": summary | {"seed": {}}}
    texts = {"text": "{", "list": "[]", "deep": "[" * 10**5} | {
        name: json.dumps(content) for name, content in damaged.items()
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(text)
    refused(cli_here, tmp_path, "compare", *args, said=said)
