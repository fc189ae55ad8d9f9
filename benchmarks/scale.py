"""What whole commands take as their inputs grow: ``python -m benchmarks.scale``, a table in Markdown.

Each row is ``python -m sim run`` with all its files, in a process of its own: CPU and wall seconds, and the
peak of its memory. ``--most 100000`` leaves out what has more requests, ``--only NAME`` runs some rows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MILLION, REPLICAS = "configs/bench/million.yaml", "configs/bench/replicas.yaml"
TENANTS, LONG, RIVALS = "configs/bench/tenants.yaml", "configs/bench/long.yaml", "configs/bench/rivals.yaml"
SGLANG = ("systems.fleet.engine={kind: sglang}", "systems.fleet.cache={kind: radix}")
RADIX_TENANTS = (
    "systems.partitioned.cache={kind: radix, capacity_tokens: 100000000}",
    "systems.partitioned.tenants=partitioned",
)


@dataclass(frozen=True)
class Scale:
    """An experiment of so many requests."""

    config: str
    settings: tuple[str, ...]
    requests: int


def _sessions(n: int) -> tuple[str, ...]:
    """``million.yaml``, five turns a session, on replicas in proportion."""
    return (
        f"workload.sessions={n}",
        f"workload.arrival.rate_per_s={n / 5000}",
        "systems.fleet.replicas=16",
    )


def _many(n: int) -> tuple[str, ...]:
    """So many systems, no two alike."""
    kind = "{{kind: cache, cache: {{kind: block, capacity_blocks: {}}}}}"
    named = ", ".join(f"s{i}: {kind.format(1000 + 100 * i)}" for i in range(n))
    return (f"systems={{{named}}}", "workload.sessions=200")


def _tenants(n: int, *more: str) -> Scale:
    return Scale(TENANTS, (f"workload.sessions={n}", f"workload.tenants={n}", *more), 5 * n)


ROWS: dict[str, Scale] = {
    **{f"{5 * n:,} requests": Scale(MILLION, _sessions(n), 5 * n) for n in (2_000, 20_000, 200_000)},
    **{
        f"{5 * n:,} requests, SGLang": Scale(MILLION, (*_sessions(n), *SGLANG), 5 * n)
        for n in (2_000, 20_000)
    },
    **{f"{n:,} tenants, a cache each": _tenants(n) for n in (1_000, 10_000)},
    **{f"{n:,} tenants, a tree each": _tenants(n, *RADIX_TENANTS) for n in (1_000, 10_000)},
    **{
        f"{n:,} replicas, kv_aware": Scale(REPLICAS, (f"systems.fleet.replicas={n}",), 10_000)
        for n in (100, 1_000)
    },
    **{f"{n} systems": Scale(RIVALS, _many(n), 200) for n in (10, 100)},
    **{f"2 sessions of {n:,} turns": Scale(LONG, (f"workload.turns={n}",), 2 * n) for n in (200, 2_000)},
}


def measured(row: Scale) -> tuple[float, float, float]:
    """CPU s, wall s and peak MB of the command."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [part for setting in row.settings for part in ("--set", setting)]
        command = [
            sys.executable,
            "-m",
            "sim",
            "run",
            str(ROOT / row.config),
            *sets,
            "--out",
            "out",
            "--quiet",
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        if status:
            raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1024


def main() -> None:
    """Measure and print, a line as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10**9, help="requests of a row")
    parser.add_argument("--only", choices=ROWS, action="append", help="may be repeated")
    options = parser.parse_args()
    print(
        "| `sim run` of | requests | CPU, s | wall, s | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
        sep="\n",
    )
    for name in options.only or ROWS:
        row = ROWS[name]
        if row.requests <= options.most:
            cpu_s, wall_s, peak_mb = measured(row)
            print(
                f"| {name} | {row.requests:,} | {cpu_s:.1f} | {wall_s:.1f} | {peak_mb:,.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
