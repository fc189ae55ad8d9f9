"""The time to first token where prompts are mostly cached: 2.8 steps + 4.8 ms on real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.config import Config
from sim.experiment import load_trace

STEPS, BESIDE_S = 2.8, 4.8e-3
"""Of 43 public loads of vLLM on H100, A100 and L40S (docs/validation.md)."""
LOADS = [
    ("llama-3.1-8b", 1, 0.5),
    ("llama-3.1-8b", 1, 2),
    ("qwen3-8b", 1, 1),
    ("qwen3-32b", 2, 1),
    ("llama-3.1-70b", 4, 0.5),
    ("llama-3.1-70b", 4, 2),
]


def off_the_law(model: str, gpus: int, rate: float) -> float:
    """How far chats behind a long shared prompt on H100 are off the law, on average."""
    config = Config.model_validate(
        {
            "name": "cached",
            "seed": 1,
            "workload": {
                "kind": "chat",
                "duration_s": 150,
                "arrival": {"process": "poisson", "rate_per_s": rate},
                "turns": {"distribution": "geometric", "mean": 5},
                "think_time_s": {"distribution": "lognormal", "median": 8, "sigma": 0.7},
                "system_prompt": {"tokens": 6000, "shared_by": "all"},
                "user_tokens": {"distribution": "lognormal", "mean": 80, "sigma": 0.7},
                "reply_tokens": {"distribution": "lognormal", "mean": 250, "sigma": 0.7},
            },
            "systems": {
                "h100": {
                    "kind": "engine",
                    "model": model,
                    "hardware": "h100-sxm",
                    "tensor_parallel": gpus,
                    "cache": {"kind": "block", "block_size": 16},
                }
            },
        }
    ).resolved()
    records = config.systems["h100"].run(load_trace(config), "systems.h100", Path(), lambda done: None)
    some = (records.arrival_s > 50) & (records.output_tokens > 1)
    hits, prompts = records.cache_read_input_tokens[some], records.input_tokens[some]
    assert hits.sum() > 0.97 * prompts.sum(), "mostly cached"
    took = (records.finished_s - records.first_token_s)[some]
    step_s = took.sum() / (records.output_tokens[some] - 1).sum()
    ttft_s = (records.first_token_s - records.arrival_s)[some].mean()
    return float(ttft_s / (STEPS * step_s + BESIDE_S) - 1)


@pytest.mark.parametrize(("model", "gpus", "rate"), LOADS)
def test_the_law_of_the_first_token(model: str, gpus: int, rate: float) -> None:
    """Within 10 % of the law, whatever model and load."""
    assert abs(off_the_law(model, gpus, rate)) < 0.10
