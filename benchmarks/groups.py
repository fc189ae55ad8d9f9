"""Times groups of layers beside one group of full attention: ``python -m benchmarks.groups``.

The public conversation trace through caches of blocks of 16 tokens, in replay and on eight replicas. All
are run in turn in one process; figures are medians of CPU seconds, and how many times those of one group
they are. A pool has as many blocks per group in each. Replays are also run with blocks of 8 tokens, twice
as many for the same segments, to show that the cost does not follow blocks.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time

from benchmarks.speed import MOONCAKE, ROOT
from sim import load_config
from sim.config import Config
from sim.experiment import load_trace
from workloads.trace import Trace

GROUPS = {
    "one full": ["full"],
    "full, swa:128": ["full", "swa:128"],
    "full, chunk:256": ["full", "chunk:256"],
    "full, mamba:align": ["full", "mamba:align"],
    "full, 5 x swa:256": ["full", *["swa:256"] * 5],
}
BLOCKS = 960_000
"""Of 16 tokens, for each group."""


def system(kind: str, groups: list[str], block_size: int) -> Config:
    """The experiment with one system, ``x``, of such a cache."""
    names = ", ".join(repr(group) for group in groups)
    cache = f"{{kind: block, block_size: {block_size}, groups: [{names}]"
    if kind == "replay":
        blocks = BLOCKS * 16 // block_size * len(groups)
        text = f"{{kind: cache, cache: {cache}, capacity_blocks: {blocks}}}}}"
    else:
        text = f"{{kind: engine, replicas: 8, model: llama-3-8b, hardware: h200, cache: {cache}}}}}"
    return load_config(
        ROOT / "configs/mooncake.yaml", [f"workload.path={MOONCAKE}", f"systems={{x: {text}}}"]
    )


def taken_s(config: Config, trace: Trace) -> float:
    """CPU seconds of one run of its system; what the run before left is collected first."""
    gc.collect()
    start = time.process_time()
    config.systems["x"].run(trace, "systems.x", config.folder, lambda done: None)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each, in turn")
    runs = parser.parse_args().runs
    if not MOONCAKE.is_file():
        print("The public trace is not on this machine: nothing to measure.")
        return
    for kind, sizes in (("replay", (16, 8)), ("engine", (16,))):
        configs = {
            (name, size): system(kind, groups, size)
            for name, groups in GROUPS.items()
            for size in sizes
            if kind == "replay" or "mamba:align" not in groups  # there every step is decided: minutes
        }
        trace = load_trace(next(iter(configs.values())))
        times = {key: [0.0] * runs for key in configs}
        for turn in range(runs):
            for key, config in configs.items():
                times[key][turn] = taken_s(config, trace)
        medians = {key: statistics.median(found) for key, found in times.items()}
        for (name, size), median_s in medians.items():
            ratio = median_s / medians["one full", size]
            line = f"{kind:8}{name:20} blocks of {size:<4}{median_s:8.3f} s{ratio:7.2f} times one group"
            if size < 16:
                line += f"{median_s / medians[name, 16]:7.2f} times blocks of 16"
            print(line)


if __name__ == "__main__":
    main()
