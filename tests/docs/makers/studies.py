"""Figures of shipped studies: speculation, deployed models, capacity, the fewest GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from reports import fewest_gpus, units
from sim import load_config
from sim.experiment import load_trace
from sim.parts.division import division_of
from sim.studies import capacity
from tests.docs.examples import ROOT
from tests.docs.made import MOONCAKE, Cells, Made, Sentences, Table, percent
from tests.docs.makers.first_run import summary
from tests.docs.makers.traces import conversations

MODELS = "docs/models.md"
SIZING = (
    "search", "configs/studies/sizing.yaml", "--axes", "configs/axes/gpus.yaml", "--recipe", "fewest-gpus",
)  # fmt: skip
PRECISION = 0.02
FULL_RATE = "systems.vllm-h200.latency={kind: roofline, mfu: 1, mbu: 1}"


def _speculation() -> Cells:
    """Tokens per step are those of the configuration's rates: a person's words."""
    found = summary("studies/speculation.yaml")
    return [
        [
            name,
            None,
            f"{found['no_cache'][name]['mean_tpot_ms']:.1f}",
            f"{entry['mean_tpot_ms']:.1f}",
            percent(entry["cache"]["prefix_cache_hit_rate"]),
            f"{entry['p50_ttft_ms']:.1f}",
        ]
        for name, entry in found["systems"].items()
    ]


def _served(found: Any) -> Cells:
    return [
        [
            name,
            f"{found['no_cache'][name]['p50_ttft_ms']:,.1f}",
            f"{entry['p50_ttft_ms']:,.1f}",
            f"{entry['mean_tpot_ms']:.1f}",
            percent(entry["cache"]["prefix_cache_hit_rate"]),
            str(entry["rejected"]),
        ]
        for name, entry in found["systems"].items()
    ]


def _deployed() -> Any:
    return summary("studies/deployed.yaml")


def _deployed_trace() -> Any:
    return summary("deployed-trace.yaml", f"workload.path={MOONCAKE}")


def _lengths() -> dict[str, str]:
    tokens = conversations().input_tokens
    return {"requests": f"{len(tokens):,}", "mean": f"{sum(tokens) / len(tokens):,.0f}"}


@cache
def _capacity(*settings: str) -> Any:
    config = load_config(ROOT / "configs/studies/capacity.yaml", list(settings))
    [found] = capacity.study(config, PRECISION, lambda *_: None).summary()["systems"].values()
    return found


def _capacities() -> Cells:
    def rate(value: float, bounds: tuple[float, float]) -> str:
        return f"{value:.2f} ({bounds[0]:.2f} to {bounds[1]:.2f})"

    def cells(found: Any) -> list[str | None]:
        sides = (found["without_cache"], found["with_cache"])
        rates = (rate(side["max_rate"], side["max_rate_interval"]) for side in sides)
        return [None, *rates, rate(found["ratio"], found["ratio_interval"])]

    return [cells(_capacity()), cells(_capacity(FULL_RATE))]


@cache
def _fleets() -> Any:
    """The content of fewest-gpus.json."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sim", *SIZING, "--jobs", "1", "--out", folder, "--quiet"]
        subprocess.run(command, cwd=ROOT, check=True)
        return json.loads(Path(folder, "fewest-gpus.json").read_text("utf-8"))


def _fewest() -> Cells:
    """Kind, side, GPUs, dollars an hour, the share of good requests, and that with one GPU less."""

    def cells(kind: Any, side: str) -> list[str | None]:
        size = kind[side]
        good, less = (_share(size[name] or {}) for name in ("good", "one_less"))
        gpus = f"over {_fleets()['most']}" if size["gpus"] is None else str(size["gpus"])
        cost = "" if size["cost_usd_per_hour"] is None else units.usd(size["cost_usd_per_hour"])
        return [kind["point"]["gpu"], fewest_gpus.LABELS[side], gpus, cost, good, less]

    return [cells(kind, side) for kind in _fleets()["kinds"] for side in fewest_gpus.LABELS]


def _share(figures: dict[str, float]) -> str:
    return ", ".join(map(percent, figures.values()))


def _steps() -> dict[str, str]:
    """Steps of the fixed shape, and the runs that they are; those of the conversations in round numbers."""
    steps, runs = _counted("bench/rivals.yaml", "one")
    all_steps, all_runs = _counted("mooncake.yaml", "fleet", f"workload.path={MOONCAKE}")
    return {
        "steps": f"{steps:,}",
        "runs": f"{runs:,}",
        "all_steps": f"{all_steps / 1e6:.1f} M",
        "all_runs": f"{round(all_runs, -3):,}",
    }


def _counted(config: str, system: str, *settings: str) -> tuple[int, int]:
    loaded = load_config(ROOT / "configs" / config, list(settings))
    records = loaded.systems[system].run(load_trace(loaded), system, loaded.folder, lambda done: None)
    assert records.engine is not None
    return records.engine.iterations, sum(map(len, records.steps))


def _groups() -> dict[str, str]:
    """Groups of replicas that never meet, of a thousand of which some fail."""
    config = load_config(ROOT / "configs/studies/day.yaml", ["workload.duration_s=1"])
    division = division_of(config.systems["fleet"], load_trace(config))
    replicas = sum(map(len, division.groups))
    return {"replicas": str(replicas), "groups": str(len(division.groups))}


PERFORMANCE = "docs/performance.md"
MADE: dict[str, Made] = {
    "runs of iterations": Sentences(
        PERFORMANCE,
        "configs/bench/rivals.yaml",
        _steps,
        (
            "because the {steps} steps are {runs} runs, an event each",
            "nothing by themselves: {all_steps} iterations of the Mooncake conversation trace on four "
            "replicas are {all_runs} runs (`configs/mooncake.yaml`)",
        ),
        MOONCAKE,
    ),
    "groups of a day": Sentences(
        "docs/scale.md",
        "configs/studies/day.yaml",
        _groups,
        ("fleet: {replicas} replicas, each with its own sessions: {groups} groups that never meet",),
    ),
    "speculation": Table(
        MODELS, "python -m sim run configs/studies/speculation.yaml", _speculation, slow=True
    ),
    "deployed": Table(
        MODELS, "python -m sim run configs/studies/deployed.yaml", lambda: _served(_deployed()), slow=True
    ),
    "deployed, requests": Sentences(
        MODELS,
        "python -m sim run configs/studies/deployed.yaml",
        lambda: {"requests": f"{_deployed()['requests']:,}"},
        ("serve the same chats for an hour, {requests} requests, on one H200",),
        slow=True,
    ),
    "deployed, trace": Table(
        MODELS,
        "python -m sim run configs/deployed-trace.yaml",
        lambda: _served(_deployed_trace()),
        MOONCAKE,
        slow=True,
    ),
    "deployed, trace, lengths": Sentences(
        MODELS,
        "python -m sim run configs/deployed-trace.yaml",
        _lengths,
        ("Mooncake conversation trace ({requests} requests, {mean} tokens each on average;",),
        MOONCAKE,
    ),
    "capacity": Table(
        MODELS, "python -m sim capacity configs/studies/capacity.yaml", _capacities, slow=True
    ),
    "fewest GPUs": Table("docs/sweeps.md", "python -m sim " + " ".join(SIZING), _fewest, slow=True),
}
