"""Commands that lose their life, their disk or their patience at a chosen step.

``python -c SCRIPT ARGS...`` imports everything once, then runs the command ARGS in forks, one for each line
of stdin: a folder, a fault, and at which change of a name (rename, replace, link) it happens, or how many
bytes a file may have. Prints how each ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, resource, signal, sys
from sim import cli
from workloads import cli as traces
import matplotlib.figure, pandas, pyarrow.parquet, reports.console, reports.files, reports.html
programs, steps = {"sim": cli.main, "workloads": traces.main}, 0
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background

def at(step, fault, real):
    def call(*parts, **more):
        global steps
        steps += 1
        if steps == step:
            if fault == "kill":
                os._exit(9)
            if fault == "full":
                raise OSError(28, "No space left on device")
            os.kill(os.getpid(), getattr(signal, fault))
        return real(*parts, **more)
    return call

for line in sys.stdin.read().splitlines():
    folder, fault, step = line.split()
    if child := os.fork():
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    if fault == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(step), int(step)))
    for name in ("rename", "replace", "link"):
        setattr(os, name, at(int(step), fault, getattr(os, name)))
    os.chdir(folder)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    programs[sys.argv[1]](sys.argv[2:])
"""
Fault = tuple[Path, str, int]
"""A folder, what happens there, and at which step."""


def faulted(faults: list[Fault], *args: str) -> tuple[list[int], str]:
    """Exit codes of the command ARGS in each folder; and what stderr said."""
    lines = "\n".join(f"{folder} {fault} {step}" for folder, fault, step in faults)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args], input=lines, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return [int(line.split()[1]) for line in done.stdout.splitlines()], done.stderr
