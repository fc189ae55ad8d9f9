"""An experiment that is right, to be made wrong in one place."""

from __future__ import annotations

import json
from pathlib import Path

GOOD = {
    "name": "bad",
    "workload": {
        "kind": "chat",
        "sessions": 3,
        "arrival": {"process": "poisson", "rate_per_s": 1.0},
        "turns": 2,
        "think_time_s": 1,
        "system_prompt": {"tokens": 10},
        "user_tokens": 5,
        "reply_tokens": 5,
    },
    "systems": {"one": {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"}},
}
LINE = {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}
TRACE = {"kind": "trace", "format": "mooncake", "path": "trace.jsonl"}


def written(folder: Path, text: str | None = None) -> Path:
    """A file with ``text``, or with the right experiment."""
    path = folder / "bad.yaml"
    path.write_text(json.dumps(GOOD, indent=1) if text is None else text)
    return path
