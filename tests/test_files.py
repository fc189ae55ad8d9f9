"""A file holds one idea: 300 lines at most, or a reason."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sim", "workloads", "calibration", "reports", "benchmarks", "compiled")
MOST_LINES = 300
LONGER = {
    "sim/caches/groups/cache.py": "what an engine's scheduler asks of its memory, for all kinds of groups",
    "sim/engine/vllm/replica.py": "the one place where a step becomes an event and events become steps",
    "sim/engine/vllm/run_scheduler.py": "vLLM's scheduler in the order of its source, to be read beside it",
    "sim/engine/vllm/step_scheduler.py": "the same with every option, to be read beside it",
    "sim/fleet/fleet.py": "the life of a request: each way that it can end may lead to every other",
    "sim/result.py": "what a run gives its caller, public names with their docstrings",
    "sim/results/records.py": "the columns of requests.parquet and the counters, with their docstrings",
}
"""Why a longer file is no two."""


def test_no_file_is_long_without_a_reason() -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name, count in lines.items() if count > MOST_LINES} == set(LONGER)
