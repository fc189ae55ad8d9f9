"""What real servers took beside their simulation."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import server_aggregates
from calibration.layer_profile import build
from calibration.served import bench, measured
from calibration.served.against import Against
from calibration.served.comparison import Comparison, compare
from calibration.served.matching import match
from calibration.served.server import Server, load_trace
from sim.hardware import shipped
from sim.hardware.profile import Profile
from tests.calibration import benches
from tests.calibration.test_first_token import LOADS, off_the_law
from tests.docs.made import REAL_RUNS, Cells, Made, Sentences, Table, percent, signed

CALIBRATION, VALIDATION = "docs/calibration.md", "docs/validation.md"
LIMITS = ("engine.max_num_batched_tokens=2048", 'engine.version="0.19"')
PRO, RTX_4090, EXPERTS = (
    "rtxpro6000.llama-3.1-8b.tp1",
    "rtx4090.llama-3.1-8b.tp1",
    "rtxpro6000.qwen3-30b-a3b.dp2ep2",
)
RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    PRO: ("llama-3.1-8b", "rtx-pro-6000", ("engine.max_num_seqs=128",)),
    RTX_4090: ("llama-3.1-8b", "rtx-4090", ("engine.max_num_seqs=256", "memory.kv_blocks=2588")),
    EXPERTS: (
        "qwen3-30b-a3b",
        "rtx-pro-6000",
        ("engine.max_num_seqs=128", "data_parallel=2", "expert_parallel=2"),
    ),
}
"""Model, GPU and options of each run."""
METRICS = ("TTFT", "TPOT", "E2E")
FULL_RATE = {"kind": "roofline", "mfu": 1, "mbu": 1}
AGGREGATES = REAL_RUNS / "server_aggregates" / "h100_h200_tp1to4.csv.gz"
NAMES = {
    "gpt-oss-120b": "gpt-oss 120B",
    "llama-3.1-70b-fp8": "Llama 3.1 70B, 8 bit",
    "llama-3.1-8b-fp8": "Llama 3.1 8B, 8 bit",
    "qwen3-32b": "Qwen3 32B",
    "qwen3-32b-fp8": "Qwen3 32B, 8 bit",
}


def _server(name: str, latency: dict[str, Any] | None = None) -> Server:
    model, gpu, settings = RUNS[name]
    return Server.of(model, gpu, 1, [*LIMITS, *settings], latency)


@contextmanager
def _served(name: str) -> Iterator[tuple[Any, Any]]:
    """The measured requests and the trace that was sent."""
    requests = REAL_RUNS / "vllm_019_runs" / f"{name}.requests.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        path = benches.expanded(requests, Path(folder) / "trace.jsonl")
        yield match(measured.read(requests), load_trace(path, []))


@cache
def _fitted(name: str) -> bench.Fitted:
    with _served(name) as (run, trace):
        return bench.fit(_server(name), run, trace)


def fitted_run() -> Against:
    """All requests of a run beside what the profile that was fitted to half of them says."""
    with _served(PRO) as (run, trace):
        server, profile = _server(PRO), _fitted(PRO).profile
        records = server.simulate(trace, profile)
        return Against(server, profile, run, records, compare(run, records), [])


def _against(
    name: str, latency: dict[str, Any] | None = None, profile: Profile | None = None
) -> Comparison:
    with _served(name) as (run, trace):
        return compare(run, _server(name, latency).simulate(trace, profile))


@cache
def _from_layers(name: str) -> Comparison:
    server = _server(name)
    tables = REAL_RUNS / "vllm_019_layer_times" / name.replace("dp2ep2", "tp1")
    return _against(name, profile=build(tables, server.model, server.gpu, server.system.parallel))


def _benches() -> Cells:
    def cells(name: str) -> list[str | None]:
        fitted = _fitted(name)
        found, numbers = fitted.heldout, fitted.found.values
        errors = [
            ", ".join(f"{100 * found.error(f'{metric} {of}'):+.1f}" for of in ("mean", "p50", "p99"))
            for metric in METRICS
        ]
        sought = f"{numbers['mfu']:.3f}, {numbers['mbu']:.3f}, {numbers['kv_factor']:.2f}"
        return [None, sought, *(f"{three} %" for three in errors)]

    return [cells(name) for name in RUNS]


def _layers() -> Cells:
    def cells(name: str) -> list[str | None]:
        found = _from_layers(name)
        return [
            None,
            *(signed(found.error(f"{metric} {of}")) for metric in METRICS for of in ("mean", "p99")),
        ]

    return [cells(name) for name in (RTX_4090, PRO, EXPERTS)]


def _requests() -> Cells:
    """Of each run the datasheet, what a configuration without ``latency`` has, and a fit to one half."""

    def cells(found: Comparison) -> list[str | None]:
        size = found.metrics["E2E"].request_mape
        assert size is not None
        means = (signed(found.error(f"{metric} mean")) for metric in METRICS)
        return [None, None, None, *means, percent(size)]

    return [
        cells(found)
        for name in RUNS
        for found in (_against(name, FULL_RATE), _against(name), _fitted(name).heldout)
    ]


def _halves() -> dict[str, str]:
    worst = max(
        abs(_fitted(name).heldout.error(f"{metric} p99")) for name in (PRO, RTX_4090) for metric in METRICS
    )
    fitted = _fitted(PRO).fitted
    single = fitted.metrics["TTFT"].request_mape
    assert single is not None
    return {
        "p99": percent(worst),
        "single": percent(single, 0),
        "median": signed(fitted.error("TTFT p50"), 0),
    }


@cache
def _aggregates() -> list[tuple[server_aggregates.Group, list[float], list[float]]]:
    return list(server_aggregates.errors(AGGREGATES))


def _points() -> Cells:
    gpus = {"h100-sxm": "H100", "h200": "H200"}

    def cells(group: server_aggregates.Group, *errors: list[float]) -> list[str | None]:
        model, gpu, count, engine = group
        figures = [
            text
            for found in errors
            for text in (percent(float(np.median(np.abs(found)))), signed(float(np.median(found))))
        ]
        return [NAMES[model], gpus[gpu], str(count), engine, str(len(errors[0])), *figures]

    return [cells(*row) for row in _aggregates()]


def _by_model() -> dict[str, str]:
    found: dict[str, list[float]] = defaultdict(list)
    for (model, *_), errors, _ in _aggregates():
        found[model] += errors
    names = {"gpt": "gpt-oss-120b", "llama": "llama-3.1-70b-fp8", "qwen": "qwen3-32b"}
    return {
        **{name: percent(float(np.median(np.abs(found[model])))) for name, model in names.items()},
        **{f"{name}_points": str(len(found[model])) for name, model in names.items()},
    }


def _without() -> dict[str, str]:
    """Median sizes of errors without what the host adds to a step, and with SGLang's lengths drawn too."""
    models: dict[str, list[float]] = defaultdict(list)
    runs: dict[server_aggregates.Group, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in shipped.FOLDER.glob("h?00*.yaml"):
            gpu, name = path.stem.split(".", 1)
            text = re.sub(r"^  (host_\w+): .*$", r"  \1: 0.0", path.read_text("utf-8"), flags=re.MULTILINE)
            Path(folder, f"{gpu}.{name.replace('.tp', '.vllm.tp')}.yaml").write_text(text)
        for group, errors, _ in server_aggregates.errors(AGGREGATES, Path(folder), roofline=False):
            models[group[0]] += errors
            runs[group] = errors
    drawn: dict[int, list[float]] = defaultdict(list)
    for point in server_aggregates.points(AGGREGATES):
        latency = server_aggregates.latency_of(point.group, None)
        if point.group[3] == "sglang" and latency is not None:
            tpot_s = server_aggregates.tpot_s(replace(point, shortest=0.8), latency)
            drawn[point.group[2]].append(tpot_s / point.tpot_s - 1)

    def size(errors: list[float], digits: int = 0) -> str:
        return f"{100 * float(np.median(np.abs(errors))):.{digits}f}"

    return {
        "llama": size(models["llama-3.1-70b-fp8"], 1) + " %",
        "two": size(runs["qwen3-32b", "h100-sxm", 2, "vllm"]),
        "four": size(runs["qwen3-32b", "h100-sxm", 4, "vllm"]),
        "sglang_two": size(drawn[2]),
        "sglang_four": size(drawn[4]),
    }


def _range() -> dict[str, str]:
    """Of the models that were measured most."""
    errors = [float(_by_model()[name].removesuffix(" %")) for name in ("gpt", "llama", "qwen")]
    return {"least": f"{min(errors):.0f}", "most": f"{max(errors):.0f} %"}


def _law() -> dict[str, str]:
    found = [off_the_law(*load) for load in LOADS]
    return {"least": f"{100 * min(found):+.1f}", "most": f"{100 * max(found):+.1f}"}


RUNS_FOLDER = REAL_RUNS / "vllm_019_runs"
MADE: dict[str, Made] = {
    "benchmarks, held out": Table(
        CALIBRATION, "python -m calibration from-bench", _benches, RUNS_FOLDER, slow=True
    ),
    "layer times": Table(
        CALIBRATION, "tests/calibration/test_layer_times.py", _layers, RUNS_FOLDER, slow=True
    ),
    "real servers": Table(
        VALIDATION, "python -m calibration validate --against", _requests, RUNS_FOLDER, slow=True
    ),
    "real servers, said": Sentences(
        VALIDATION,
        "python -m calibration from-bench",
        _halves,
        (
            "p99 of the two dense runs is met within {p99} on the held-out half",
            "the TTFT of a single one of those is off by {single} on average, and their median by "
            "{median}.",
        ),
        RUNS_FOLDER,
        slow=True,
    ),
    "server aggregates": Table(
        VALIDATION, "python -m benchmarks.server_aggregates FILE", _points, AGGREGATES, slow=True
    ),
    "server aggregates, said": Sentences(
        VALIDATION,
        "python -m benchmarks.server_aggregates FILE",
        _by_model,
        (
            "gpt-oss 120B {gpt} ({gpt_points} points), Llama 3.1 70B in 8 bit {llama} ({llama_points}), "
            "Qwen3 32B {qwen} ({qwen_points}).",
        ),
        AGGREGATES,
        slow=True,
    ),
    "server aggregates, without": Sentences(
        VALIDATION,
        "tests/docs/makers/servers.py",
        _without,
        (
            "Without that term: Llama 3.1 70B {llama}, Qwen3 32B with vLLM {two} and {four} %",
            "With 0.8 to 1 there SGLang's errors were {sglang_two} and {sglang_four} %.",
        ),
        AGGREGATES,
        slow=True,
    ),
    "server aggregates, habits": Sentences(
        "docs/habits.md",
        "validation.md",
        _range,
        ("with the times that ship (off real servers' by {least} to {most}: [validation]",),
        AGGREGATES,
        slow=True,
    ),
    "first token": Sentences(
        VALIDATION,
        "tests/calibration/test_first_token.py",
        _law,
        ("with the profiles that ship: from {least} to {most} % off the law",),
    ),
}
