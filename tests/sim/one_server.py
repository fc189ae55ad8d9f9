"""The study of capacity of one server with a queue, whose service times are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sim import load_config
from sim.config import Config
from sim.studies.capacity import CapacityStudy, study

DURATION_S = 1000
ENGINE = {
    "kind": "engine",
    "engine": {"max_num_seqs": 1},
    "memory": {"kv_blocks": 10_000},
    "latency": {"kind": "constant", "iteration_s": 1.0},
}
CONFIG: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "workload": {
        "kind": "chat",
        "duration_s": DURATION_S,
        "arrival": {"process": "uniform", "rate_per_s": 0.6},
        "turns": 1,
        "think_time_s": 0,
        "system_prompt": {"tokens": 160},
        "user_tokens": 16,
        "reply_tokens": 1,
    },
    "slo": {"e2el_ms": 1500},
    "systems": {"queue": ENGINE},
}


def config_of(folder: Path, **changes: Any) -> Config:
    """`CONFIG` with ``changes``, as a file in ``folder`` gives it."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(CONFIG | changes))
    return load_config(path)


def study_of(config: Config, precision: float = 1e-5) -> CapacityStudy:
    """What the study finds."""
    return study(config, precision, lambda part, done, total: None)
