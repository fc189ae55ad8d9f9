"""Times the simulator on fixed experiments and prints the figures: ``python -m benchmarks.speed``.

Each experiment runs in processes of its own, several times; figures are medians, memory is the peak
of the whole process. These are wall times: compare them only within one run on one machine. The
``loop`` column divides the simulation by a fixed pure-Python loop timed in the same process, which
makes runs on different machines roughly comparable.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOONCAKE = ROOT.parent / "shared/data/mooncake/conversation_trace.jsonl"
TRACE = [f"workload.path={MOONCAKE}"]
REPLAY = "systems={x: {kind: cache, cache: {kind: block, block_size: %d, capacity_blocks: %d}}}"
ALL = "*"
"""Every system of the experiment, one after the other."""
EXPERIMENTS: dict[str, tuple[str, list[str], str]] = {
    "quickstart": ("configs/quickstart.yaml", [], "vllm-h200"),
    "mooncake fleet": ("configs/mooncake.yaml", TRACE, "fleet"),
    "mooncake ids, LRU": ("configs/mooncake.yaml", TRACE, "replay-30k"),
    "mooncake blocks of 16": ("configs/mooncake.yaml", [*TRACE, REPLAY % (16, 960_000)], "x"),
    "mooncake blocks of 512": ("configs/mooncake.yaml", [*TRACE, REPLAY % (512, 30_000)], "x"),
    "100,000 requests": ("configs/bench/million.yaml", ["workload.sessions=20000"], "fleet"),
    "100,000 through 4 providers": ("configs/bench/providers.yaml", [], ALL),
    "1,000,000 requests": ("configs/bench/million.yaml", [], "fleet"),
}
LONG = ("1,000,000 requests",)
"""Run once only."""


def fixed_loop_s() -> float:
    """Seconds for a fixed amount of dictionary and integer work."""
    start = time.perf_counter()
    table: dict[int, int] = {}
    for i in range(1_000_000):
        table[i & 4095] = table.get(i & 4095, 0) + i
    return time.perf_counter() - start


def once(config: str, settings: list[str], system: str) -> dict[str, float]:
    """Run one experiment in this process; the figures of ``system`` (or `ALL`) alone, twins left out."""
    from sim import load_config
    from sim.experiment import load_trace

    loaded = load_config(ROOT / config, settings)
    start = time.perf_counter()
    trace = load_trace(loaded)
    loaded_at = time.perf_counter()
    chosen = list(loaded.systems) if system == ALL else [system]
    iterations = 0
    for name in chosen:
        records = loaded.systems[name].run(trace, f"systems.{name}", loaded.folder, lambda done: None)
        iterations += records.engine.iterations if records.engine else 0
    simulation_s = time.perf_counter() - loaded_at
    return {
        "load_s": loaded_at - start,
        "simulation_s": simulation_s,
        "requests_per_s": len(trace) * len(chosen) / simulation_s,
        "iterations_per_s": iterations / simulation_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "loop": simulation_s / statistics.median(fixed_loop_s() for _ in range(3)),
    }


def main() -> None:
    """Print one row per experiment, medians over ``--runs`` processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--once", choices=EXPERIMENTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(*EXPERIMENTS[arguments.once])))
        return
    keys = ("load_s", "simulation_s", "requests_per_s", "iterations_per_s", "peak_mb", "loop")
    print(f"{'':28}" + "".join(f"{key:>18}" for key in keys))
    for name in EXPERIMENTS:
        if "mooncake" in name and not MOONCAKE.is_file():
            print(f"{name:28}  left out: the public trace is not on this machine")
            continue
        command = [sys.executable, "-m", "benchmarks.speed", "--once", name]
        rows = [
            json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
            for _ in range(1 if name in LONG else arguments.runs)
        ]
        medians = [statistics.median(row[key] for row in rows) for key in keys]
        print(
            f"{name:28}"
            + "".join(f"{value:>18,.3f}" if value < 100 else f"{value:>18,.0f}" for value in medians)
        )


if __name__ == "__main__":
    main()
