"""Times an experiment in one process and in parts: ``python -m benchmarks.parts [--sessions N]``.

The chats of ``configs/bench/million.yaml`` behind a session router (``--replicas N``): first in one
process, then in parts in as many as there are cores. Prints wall and CPU seconds of each, all processes
together, the peak memory of the one that has most, and whether ``requests.parquet`` and ``summary.json``
are equal. ``--only-parts`` leaves the first one out. Wall times of a machine that does other work too say
little; CPU seconds and memory do.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs/bench/million.yaml"
FILES = ("requests.parquet", "summary.json", "report.html")
LOOK_S = 0.2


@dataclass
class Measured:
    """What one run took."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peaks_mb: dict[int, float] = field(default_factory=dict)
    """Of each process, by its number; the one that was started is the first."""
    each_cpu_s: dict[int, float] = field(default_factory=dict)
    """CPU seconds of each, when it was last seen."""

    @property
    def alone_s(self) -> float:
        """CPU seconds of the process that was started, in which the others have nothing to do."""
        return next(iter(self.each_cpu_s.values()))


def measured(command: list[str]) -> Measured:
    """Run ``command`` and watch it and all processes that it starts."""
    before, start, out = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), Measured()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while process.poll() is None:
        for pid in (process.pid, *_below(process.pid)):
            out.peaks_mb[pid] = max(out.peaks_mb.get(pid, 0.0), _peak_mb(pid))
            out.each_cpu_s[pid] = max(out.each_cpu_s.get(pid, 0.0), _cpu_s(pid))
        time.sleep(LOOK_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    out.wall_s = time.perf_counter() - start
    out.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return out


def _below(pid: int) -> list[int]:
    """The processes that ``pid`` has started, and those that these have."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(child) for child in text.split()]
    return children + [further for child in children for further in _below(child)]


def _peak_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run both and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=200_000)
    parser.add_argument("--replicas", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--parts", type=int)
    parser.add_argument("--only-parts", action="store_true")
    parser.add_argument("--out", type=Path, help="keep what both leave there")
    options = parser.parse_args()
    rate = 2.5 * options.replicas  # sessions per second: the load of a replica stays the same
    settings = {
        "workload.sessions": options.sessions,
        "workload.arrival.rate_per_s": rate,
        "systems.fleet.replicas": options.replicas,
        "systems.fleet.router": "session",
    }
    command = [sys.executable, "-m", "sim", "run", str(CONFIG), "--quiet"]
    command += [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    in_parts = ["--jobs", str(options.jobs), *(["--parts", str(options.parts)] if options.parts else [])]
    ways = {"one process": [], "in parts": in_parts}
    if options.only_parts:
        del ways["one process"]
    with tempfile.TemporaryDirectory() as temporary:
        folder, took = options.out or Path(temporary), {}
        for way, more in ways.items():
            place = folder / way.replace(" ", "-")
            took[way] = measured([*command, "--out", str(place), *more])
            first, *others = took[way].peaks_mb.values()
            print(
                f"{way}: {took[way].wall_s:.1f} s wall, {took[way].cpu_s:.1f} s CPU, peak {first:.0f} MB"
                + (f", of a worker {max(others):.0f} MB" if others else "")
            )
        if len(took) == 2:
            one, parts = took.values()
            same = all(
                (folder / "one-process" / name).read_bytes() == (folder / "in-parts" / name).read_bytes()
                for name in FILES
            )
            print(f"{one.wall_s / parts.wall_s:.2f} times as fast by the clock on the wall")
            others_s = parts.cpu_s - parts.alone_s
            free_s = parts.alone_s + others_s / options.jobs
            print(
                f"{one.cpu_s / free_s:.2f} times by CPU seconds: {one.cpu_s:.1f} s, or "
                f"{parts.alone_s:.1f} s of the first process and {others_s:.1f} s of {options.jobs} others"
            )
            print(f"files are {'equal' if same else 'NOT equal'}")


if __name__ == "__main__":
    main()
