"""Times the simulator on fixed experiments and prints the figures: ``python -m benchmarks.speed``.

Each experiment runs in processes of its own, several times, all experiments in turn; figures are medians,
memory is the peak of the whole process. Wall times: compare them only within one run on one machine. The
``loop`` column divides the CPU time of the simulation by that of a fixed pure-Python loop timed before and
after it in the same process, which makes runs on different machines roughly comparable. Ends with exit
code 1 if that ratio is more than 1.2 times the recorded one (``recorded.json``) for any experiment.

All of that is of interpreted sources. Where compiled modules are built (``make compiled``) every experiment
also runs with them, in turn with the other, and two more columns say what they take.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import regression
from compiled.interpreted import built, interpret

ROOT = Path(__file__).parents[1]
MOONCAKE = ROOT.parent / "shared/data/mooncake/conversation_trace.jsonl"
TRACE = [f"workload.path={MOONCAKE}"]
REPLAY = "systems={x: {kind: cache, cache: {kind: block, block_size: %d, capacity_blocks: %d}}}"
STEPS = "systems.one.engine.fast_forward=false"
ALL = "*"
"""Every system of the experiment, one after the other."""
EXPERIMENTS: dict[str, tuple[str, list[str], str]] = {
    "quickstart": ("configs/quickstart.yaml", [], "vllm-h200"),
    "rivals": ("configs/bench/rivals.yaml", [], "one"),
    "rivals, step by step": ("configs/bench/rivals.yaml", [STEPS], "one"),
    "mooncake fleet": ("configs/mooncake.yaml", TRACE, "fleet"),
    "mooncake ids, LRU": ("configs/mooncake.yaml", TRACE, "replay-30k"),
    "mooncake blocks of 16": ("configs/mooncake.yaml", [*TRACE, REPLAY % (16, 960_000)], "x"),
    "mooncake blocks of 512": ("configs/mooncake.yaml", [*TRACE, REPLAY % (512, 30_000)], "x"),
    "100,000 requests": ("configs/bench/million.yaml", ["workload.sessions=20000"], "fleet"),
    "100,000 through 4 providers": ("configs/bench/providers.yaml", [], ALL),
    **{
        f"2 chats x {turns:,} turns, {system}": (
            "configs/bench/long.yaml",
            [f"workload.turns={turns}"],
            system,
        )
        for system in ("blocks", "radix")
        for turns in (500, 1000, 2000)
    },
    **{
        f"{tenants:,} tenants x 5": (
            "configs/bench/tenants.yaml",
            [f"workload.sessions={tenants}", f"workload.tenants={tenants}"],
            "partitioned",
        )
        for tenants in (1000, 10_000)
    },
    "1,000,000 requests": ("configs/bench/million.yaml", [], "fleet"),
    "500 replicas, kv_aware": ("configs/bench/replicas.yaml", ["systems.fleet.replicas=500"], "fleet"),
    "1,000 replicas, kv_aware": ("configs/bench/replicas.yaml", [], "fleet"),
}
LONG = ("1,000,000 requests",)
"""Run once only."""
SHORT_S, MOST_REPEATS = 1.0, 5
"""A simulation is repeated in its process until it has taken so long, or so often."""
COLUMNS = {
    "load_s": "loading, s",
    "simulation_s": "simulation, s",
    "cpu_s": "the same, CPU s",
    "process_cpu_s": "process, CPU s",
    "requests_per_s": "requests/s",
    "iterations_per_s": "iterations/s",
    "peak_mb": "peak, MB",
    "loop": "loop",
}
COMPILED = ", compiled"
"""Ends the name of a row that was measured with compiled modules."""
INTERPRETED_ONLY = {"": ["--interpreted"]}
BOTH = {"": ["--interpreted"], COMPILED: []}
"""What each row's name ends in, and the options of its process."""
Row = dict[str, float]


def fixed_loop_s() -> float:
    """CPU seconds for a fixed amount of dictionary and integer work."""
    start = time.process_time()
    table: dict[int, int] = {}
    for i in range(1_000_000):
        table[i & 4095] = table.get(i & 4095, 0) + i
    return time.process_time() - start


def once(config: str, settings: list[str], system: str) -> Row:
    """Run one experiment in this process; the figures of ``system`` (or `ALL`) alone, twins left out.

    A short simulation is repeated and the median counts. The CPU seconds of the process are those from its
    start to the end of the first simulation.
    """
    loops_s = [fixed_loop_s() for _ in range(3)]
    from sim import load_config
    from sim.experiment import load_trace

    loaded = load_config(ROOT / config, settings)
    start = time.perf_counter()
    trace = load_trace(loaded)
    load_s = time.perf_counter() - start
    chosen = list(loaded.systems) if system == ALL else [system]
    wall_s: list[float] = []
    cpu_s: list[float] = []
    process_cpu_s = 0.0
    while not wall_s or (sum(wall_s) < SHORT_S and len(wall_s) < MOST_REPEATS):
        start, cpu_start = time.perf_counter(), time.process_time()
        iterations = 0
        for name in chosen:
            records = loaded.systems[name].run(trace, f"systems.{name}", loaded.folder, lambda done: None)
            iterations += records.engine.iterations if records.engine else 0
        cpu_s.append(time.process_time() - cpu_start)
        wall_s.append(time.perf_counter() - start)
        process_cpu_s = process_cpu_s or time.process_time() - sum(loops_s)
    loops_s += [fixed_loop_s() for _ in range(3)]
    simulation_s = statistics.median(wall_s)
    return {
        "load_s": load_s,
        "simulation_s": simulation_s,
        "cpu_s": statistics.median(cpu_s),
        "process_cpu_s": process_cpu_s,
        "requests_per_s": len(trace) * len(chosen) / simulation_s,
        "iterations_per_s": iterations / simulation_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "loop": statistics.median(cpu_s) / statistics.median(loops_s),
    }


def measured(names: list[str], runs: int, modes: dict[str, list[str]]) -> dict[str, Row]:
    """Medians of ``runs`` processes per experiment, taken in turn so that a slow minute hits all alike."""
    rows: dict[str, list[Row]] = {name + mode: [] for name in names for mode in modes}
    for turn in range(runs):
        for name in names:
            if name in LONG and turn > 0:
                continue
            for mode, options in modes.items():
                command = [sys.executable, "-m", "benchmarks.speed", *options, "--once", name]
                done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
                rows[name + mode].append(json.loads(done.stdout))
    return {
        name: {key: statistics.median(row[key] for row in of_one) for key in COLUMNS}
        for name, of_one in rows.items()
    }


def machine() -> str:
    """What the times were taken on, in a few words."""
    names = [line.partition(": ")[2] for line in _cpuinfo() if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores of {cpu}, {platform.system()}, {python}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def show(rows: dict[str, Row]) -> None:
    """Print a line per experiment, with what it takes compiled where that was measured."""
    headings = [*COLUMNS.values()]
    if any(name.endswith(COMPILED) for name in rows):
        headings += ["compiled, CPU s", "times as fast"]
    print(f"{'':28}" + "".join(f"{heading:>17}" for heading in headings))
    for name, row in rows.items():
        if name.endswith(COMPILED):
            continue
        figures = [row[key] for key in COLUMNS]
        if compiled := rows.get(name + COMPILED):
            figures += [compiled["cpu_s"], row["cpu_s"] / compiled["cpu_s"]]
        cells = [f"{figure:>17,.3f}" if figure < 100 else f"{figure:>17,.0f}" for figure in figures]
        print(f"{name:28}" + "".join(cells))


def main() -> None:
    """Measure, print, and compare with the recorded ratios, or record these."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="processes per experiment")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", help="may be repeated")
    parser.add_argument(
        "--record", action="store_true", help="rewrite recorded.json; needs a quiet machine"
    )
    parser.add_argument("--once", choices=EXPERIMENTS, help=argparse.SUPPRESS)
    parser.add_argument("--interpreted", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.interpreted:
        interpret()
    if arguments.once:
        print(json.dumps(once(*EXPERIMENTS[arguments.once])))
        return
    wanted = arguments.only or list(EXPERIMENTS)
    names = [name for name in wanted if "mooncake" not in name or MOONCAKE.is_file()]
    if len(names) < len(wanted):
        print("The public trace is not on this machine: left out what needs it.")
    if arguments.record and len(names) < len(EXPERIMENTS):
        parser.error("--record needs every experiment")
    rows = measured(names, arguments.runs, BOTH if built() else INTERPRETED_ONLY)
    show(rows)
    ratios = {name: rows[name]["loop"] for name in names}
    if arguments.record:
        regression.save(ratios, machine(), datetime.date.today().isoformat())
        return
    recorded = regression.load()
    for line in regression.unguarded(ratios, recorded):
        print(line)
    worse = regression.slower(ratios, recorded)
    for line in worse:
        print(line, file=sys.stderr)
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
