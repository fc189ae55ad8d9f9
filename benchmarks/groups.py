"""Times groups of layers beside one group of full attention: ``python -m benchmarks.groups``.

The public conversation trace through caches of blocks of 16 tokens, in replay and on eight replicas. All
are run in turn in one process; figures are medians of CPU seconds, and how many times those of one group
they are. A pool has as many blocks per group in each.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.speed import MOONCAKE, ROOT
from sim import load_config
from sim.experiment import load_trace

GROUPS = {
    "one full": ["full"],
    "full, swa:128": ["full", "swa:128"],
    "full, chunk:256": ["full", "chunk:256"],
    "full, mamba:align": ["full", "mamba:align"],
    "full, 5 x swa:256": ["full", *["swa:256"] * 5],
}
BLOCKS = 960_000
RUNS = {"replay": 3, "engine": 3}


def main() -> None:
    """Measure and print."""
    if not MOONCAKE.is_file():
        print("The public trace is not on this machine: nothing to measure.")
        return
    for kind, runs in RUNS.items():
        configs = {}
        for name, groups in GROUPS.items():
            if kind == "engine" and "mamba:align" in groups:
                continue  # every step is decided: minutes
            cache = f"{{kind: block, groups: [{', '.join(repr(group) for group in groups)}]"
            system = f"{{kind: cache, cache: {cache}, capacity_blocks: {BLOCKS * len(groups)}}}}}"
            if kind == "engine":
                system = (
                    f"{{kind: engine, replicas: 8, model: llama-3-8b, hardware: h200, cache: {cache}}}}}"
                )
            settings = [f"workload.path={MOONCAKE}", f"systems={{x: {system}}}"]
            configs[name] = load_config(ROOT / "configs/mooncake.yaml", settings)
        trace = load_trace(next(iter(configs.values())))
        taken_s: dict[str, list[float]] = {name: [] for name in configs}
        for _ in range(runs):
            for name, config in configs.items():
                start = time.process_time()
                config.systems["x"].run(trace, "systems.x", config.folder, lambda done: None)
                taken_s[name].append(time.process_time() - start)
        medians = {name: statistics.median(times) for name, times in taken_s.items()}
        for name, median_s in medians.items():
            print(f"{kind:8}{name:22}{median_s:8.3f} s{median_s / medians['one full']:8.2f} times")


if __name__ == "__main__":
    main()
