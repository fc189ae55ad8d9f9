"""An experiment as a whole and in parts, as the bytes that both leave."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import yaml

from reports import files, html
from sim.config import Config, load_config
from sim.experiment import run
from sim.jobs.runner import Workers
from sim.parts.running import Parted
from sim.result import Result

CHAT: dict[str, Any] = {
    "kind": "chat",
    "sessions": 40,
    "arrival": {"process": "poisson", "rate_per_s": 20},
    "turns": {"distribution": "geometric", "mean": 3},
    "think_time_s": {"distribution": "lognormal", "median": 1, "sigma": 1},
    "system_prompt": {"tokens": 100, "shared_by": "tenant"},
    "user_tokens": {"distribution": "lognormal", "mean": 80, "sigma": 1},
    "reply_tokens": {"distribution": "exponential", "mean": 60},
    "tenants": 3,
}
FLEET: dict[str, Any] = {
    "kind": "engine",
    "model": "llama-3.1-8b",
    "hardware": "h200",
    "replicas": 5,
    "router": "session",
    "memory": {"kv_blocks": 200},
    "cache": {"kind": "block", "block_size": 16},
    "price": {"gpu_hour_usd": 3.5},
}


def experiment(folder: Path, workload: dict[str, Any], **systems: dict[str, Any]) -> Config:
    """A configuration as read from a file in ``folder``."""
    path = folder / "experiment.yaml"
    rest = {"slo": {"ttft_ms": 100}, "systems": systems}
    path.write_text(yaml.safe_dump({"name": "parts", "seed": 3, "workload": workload, **rest}))
    return load_config(path)


def alone(config: Config, *, report: bool = False) -> dict[str, bytes]:
    """What one process leaves that knows nothing of parts."""
    return _left_by(run(config), report)


def divided(
    config: Config, folder: Path, parts: int, said: list[str] | None = None, *, report: bool = False
) -> dict[str, bytes]:
    """What the same experiment leaves in ``parts`` parts, one after the other in this process."""
    say = (lambda what: None) if said is None else said.append
    parted = Parted(folder, Workers(1), parts, say)
    return _left_by(parted.run(config, lambda part, done, total: None), report)


def _left_by(result: Result, report: bool) -> dict[str, bytes]:
    """The files of a run that no wall-clock time is in."""
    table, summary = io.BytesIO(), result.summary()
    files.write_requests(result, table)
    page = html.render(result, summary) if report else ""
    return {
        "requests.parquet": table.getvalue(),
        "summary.json": json.dumps(summary).encode(),
        "report.html": page.encode(),
    }
