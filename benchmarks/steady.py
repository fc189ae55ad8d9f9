"""Doubles the length of every shipped experiment that is given by time: what moves beyond its interval?

    python -m benchmarks.steady [configs/studies/eviction.yaml ...]

A figure of the longer run, which begins as the shorter one does, should lie within the 95 % interval of the
shorter one. One in some twenty may not, by what an interval is; many that do not would be a transient.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sim.config import Config, load_config
from sim.experiment import run
from sim.results import intervals
from sim.results.summary import Summary
from workloads.generators.chat import ChatWorkload

HEADLINES = (
    "mean_ttft_ms", "p50_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "mean_e2el_ms", "request_throughput",
    "request_goodput", "cache.prefix_cache_hit_rate",
)  # fmt: skip


def shipped() -> list[Path]:
    """Configurations whose workload is given by time."""
    folder = Path("configs")
    paths = [folder / "quickstart.yaml", *sorted((folder / "studies").glob("*.yaml"))]
    return [path for path in paths if "duration_s:" in path.read_text()]


def doubled(config: Config) -> Config:
    """The same experiment for twice as long."""
    workload = config.workload
    assert isinstance(workload, ChatWorkload) and workload.duration_s is not None
    return config.with_workload(workload.model_copy(update={"duration_s": 2 * workload.duration_s}))


def moved(short: Summary, long: Summary) -> tuple[list[str], int]:
    """The figures of the longer run outside of the shorter one's intervals, and how many there are."""
    assert short["intervals"] is not None, short["warnings"]
    out, count = [], 0
    for name, entry in short["systems"].items():
        before, after = intervals.flat(entry), intervals.flat(long["systems"][name])
        for figure in HEADLINES:
            bounds = short["intervals"]["systems"][name].get(figure)
            if bounds is None or figure not in after:
                continue
            count += 1
            if not bounds[0] <= after[figure] <= bounds[1]:
                half = (bounds[1] - bounds[0]) / 2
                out.append(
                    f"{name} {figure}: {before[figure]:.4g} ± {half:.2g}, twice as long {after[figure]:.4g}"
                )
    return out, count


def main() -> None:
    """Print, for each experiment, what moves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", type=Path)
    for path in parser.parse_args().configs or shipped():
        config = load_config(path)
        short = run(config, strategies=False).summary()
        long = run(doubled(config), strategies=False).summary()
        lines, count = moved(short, long)
        warned = sum(len(entry["warnings"]) for entry in short["systems"].values())
        print(f"{path}: {len(lines)} of {count} figures move beyond their interval; {warned} warnings")
        for line in lines:
            print(f"    {line}")


if __name__ == "__main__":
    main()
