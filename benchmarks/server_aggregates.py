"""Shipped profiles against public measurements of vLLM and SGLang.

    python -m benchmarks.server_aggregates FILE [--profiles DIR] [--no-roofline]

FILE is a table of time per output token at fixed lengths and closed-loop concurrency (columns as in
aiconfigurator-core's ``silicon_sample.csv``). Each row of vLLM and SGLang is simulated: so many requests at
a time, no prompt shared, lengths as stated or, in InferenceMAX's runs (files named by a date), uniform from
0.8 to 1 of them; vLLM before 0.14 does not schedule ahead. Prints by model, GPU, GPUs together
and engine the median size of the error of TPOT, and its median, beside those of the roofline. DIR has
further profiles, which take the place of those that ship: GPU.MODEL.ENGINE.tpN.yaml.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.config import Config
from sim.experiment import load_trace
from sim.hardware import catalogue, shipped
from sim.hardware.parallel import Parallel

MODELS = {
    ("meta-llama/Llama-3.1-70B", "fp8"): "llama-3.1-70b-fp8",
    ("nvidia/Llama-3.1-8B-Instruct-FP8", "fp8"): "llama-3.1-8b-fp8",
    ("Qwen/Qwen3-32B", ""): "qwen3-32b",
    ("Qwen/Qwen3-32B", "fp8"): "qwen3-32b-fp8",
    ("openai/gpt-oss-120b", "nvfp4"): "gpt-oss-120b",
}
"""(model, format of its matrices) there, and in the catalogue."""
GPUS = {"h100_sxm": "h100-sxm", "h200_sxm": "h200"}
AHEAD = (0, 14)
"""vLLM's first release that schedules ahead by default."""
ROUNDS = 5
"""Requests for each of those that are under way together."""
Group = tuple[str, str, int, str]
"""Model, GPU, GPUs together, engine."""


@dataclass(frozen=True, slots=True)
class Point:
    """A measured point."""

    group: Group
    isl: int
    osl: int
    concurrency: int
    tpot_s: float
    shortest: float
    """Least length, as a part of the stated one."""
    ahead: bool
    """Whether the engine schedules a step while another computes."""


DATASHEET = {"kind": "roofline", "mfu": 1, "mbu": 1}


def points(file: Path) -> list[Point]:
    """The rows of vLLM and SGLang whose model is known."""
    found = []
    for row in pd.read_csv(file, dtype=str).fillna("").to_dict("records"):
        model = MODELS.get((row["model_path"], row["gemm_quant_mode"]))
        gpu = GPUS.get(row["system"])
        if model is None or gpu is None or row["backend"] not in ("vllm", "sglang"):
            continue
        group = (model, gpu, int(float(row["tp_size"])), row["backend"])
        found.append(
            Point(
                group,
                int(row["isl"]),
                int(row["osl"]),
                int(float(row["batch_size"])),
                float(row["silicon_tpot_ms"]) / 1e3,
                0.8 if row["silicon_data_source"].startswith("source_file=20") else 1.0,
                row["backend"] == "sglang" or _release(row["backend_version"]) >= AHEAD,
            )
        )
    return found


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2]) if version else ()


def tpot_s(point: Point, latency: dict[str, Any]) -> float:
    """Mean time per output token of the point's requests, simulated."""
    model, gpu, count, engine = point.group

    def lengths(tokens: int) -> dict[str, Any]:
        return {"distribution": "uniform", "low": point.shortest * tokens, "high": tokens}

    system = {
        "kind": "engine",
        "model": model,
        "hardware": gpu,
        "tensor_parallel": count,
        "cache": {"kind": "block", "block_size": 16, "groups": ["full"]}
        if engine == "vllm"
        else {"kind": "radix"},
        "engine": {"kind": engine} if point.ahead else {"kind": engine, "async_scheduling": False},
        "latency": latency,
    }
    workload = {
        "kind": "chat",
        "sessions": max(24, ROUNDS * point.concurrency),
        "arrival": {"process": "closed_loop", "concurrency": point.concurrency},
        "turns": {"distribution": "constant", "value": 1},
        "system_prompt": {"tokens": 0, "shared_by": "none"},
        "think_time_s": {"distribution": "constant", "value": 0},
        "user_tokens": lengths(point.isl),
        "reply_tokens": lengths(point.osl),
    }
    config = Config.model_validate(
        {"name": "point", "seed": 1, "workload": workload, "systems": {"server": system}}
    ).resolved()
    records = config.systems["server"].run(load_trace(config), "systems.server", Path(), lambda done: None)
    after_first = records.output_tokens - 1
    took = (records.finished_s - records.first_token_s)[after_first > 0] / after_first[after_first > 0]
    return float(np.nanmean(took))


def latency_of(group: Group, folder: Path | None) -> dict[str, Any] | None:
    """Where the times of ``group`` come from, or None."""
    model, gpu, count, engine = group
    if folder is not None and (path := folder / f"{gpu}.{model}.{engine}.tp{count}.yaml").exists():
        return {"profile": str(path)}
    served = catalogue.model(model, Path()), catalogue.gpu(gpu), Parallel(tensor=count)
    if shipped.find(*served) is None:
        return None
    return {"profile": str(shipped.FOLDER / f"{gpu}.{model}.tp{count}.yaml")}


def errors(
    file: Path, profiles: Path | None = None, roofline: bool = True
) -> Iterator[tuple[Group, list[float], list[float]]]:
    """Of each group with a profile: errors of TPOT at its points, and those of the roofline (or none)."""
    by: dict[Group, list[Point]] = defaultdict(list)
    for point in points(file):
        by[point.group].append(point)
    for group in sorted(by):
        latency = latency_of(group, profiles)
        if latency is not None:
            yield group, _errors(by[group], latency), _errors(by[group], DATASHEET) if roofline else []


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--profiles", type=Path, default=None)
    parser.add_argument("--no-roofline", action="store_true")
    asked = parser.parse_args()
    print("| model | GPU | GPUs | engine | points | median size | median | p90 | roofline: size | median |")
    print("|---|---|---:|---|---:|---:|---:|---:|---:|---:|")
    everything: dict[str, list[float]] = defaultdict(list)
    for group, found, of_roofline in errors(asked.file, asked.profiles, not asked.no_roofline):
        everything[group[0]] += found
        sizes, peak = np.abs(found), np.array(of_roofline or [math.nan])
        print(
            f"| {' | '.join(map(str, group))} | {len(found)} | {np.median(sizes):.1%} | "
            f"{np.median(found):+.1%} | {np.quantile(sizes, 0.9):.1%} | {np.median(np.abs(peak)):.1%} | "
            f"{np.median(peak):+.1%} |",
            flush=True,
        )
    for model, found in everything.items():
        print(f"{model}: {len(found)} points, median size {np.median(np.abs(found)):.1%}")


def _errors(points: list[Point], latency: dict[str, Any]) -> list[float]:
    return [tpot_s(point, latency) / point.tpot_s - 1 for point in points]


if __name__ == "__main__":
    main()
