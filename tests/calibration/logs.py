"""Logs of our own making: steps of the simulator, written as vLLM's server writes iterations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim.caches.block import BlockCache
from sim.engine.latency import IterationTime
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients
from workloads.generators.chat import ChatWorkload

TRUTH = Coefficients(
    step=2e-3,
    floor=6e-3,
    token=3e-5,
    p=2.5,
    sequence=4e-5,
    pair=4e-9,
    decode_kv=6e-8,
    prefill=3e-4,
    beside=6e-5,
)
BLOCKS, BLOCK_TOKENS, SYSTEM_TOKENS = 20_000, 16, 96
OPENING = "INFO 11-20 10:00:00 [kv_cache_utils.py:1] GPU KV cache size: {:,} tokens\n"


def write(path: Path, *, noise: float = 0.0, kv: bool = True, sessions: int = 60) -> Path:
    """Chats under one system prompt, served with the times of ``TRUTH``; a line for each step."""
    config = {
        "kind": "chat",
        "sessions": sessions,
        "arrival": {"process": "poisson", "rate_per_s": 2.0},
        "turns": {"distribution": "geometric", "mean": 3},
        "think_time_s": {"distribution": "exponential", "mean": 3},
        "system_prompt": {"tokens": SYSTEM_TOKENS},
        "user_tokens": {"distribution": "lognormal", "mean": 900, "sigma": 1.0},
        "reply_tokens": {"distribution": "lognormal", "mean": 120, "sigma": 0.7},
    }
    trace = ChatWorkload.model_validate(config).build(1, Path())
    prompts, random, lines = trace.input_tokens, np.random.default_rng(1), [OPENING.format(BLOCKS * 16)]

    def log(batch: Batch, memory: BlockCache, predicted_s: float) -> float:
        assert batch.shares is not None
        scheduled = batch.shares.tokens
        context = [
            new for request, new in scheduled.items() if request.computed - new < prompts[request.index]
        ]
        decodes = len(scheduled) - len(context)
        ended = [  # they are gone when the server notes its use; the system prompt is others' too
            -(-request.computed // BLOCK_TOKENS) - SYSTEM_TOKENS // BLOCK_TOKENS
            for request in scheduled
            if request.computed >= prompts[request.index] + trace.output_tokens[request.index] - 1
        ]
        held = BLOCKS - memory.free_blocks - sum(ended)
        t_s = predicted_s * float(np.exp(noise * random.normal()))
        use = f", GPU KV cache usage: {held / BLOCKS:.1%}" if kv else ""
        lines.append(
            f"(APIServer pid=7) INFO 11-20 10:00:01 [loggers.py:1] Engine 000: Iteration({len(lines)}): "
            f"{len(context)} context requests, {sum(context)} context tokens, {decodes} generation "
            f"requests, {decodes} generation tokens, iteration elapsed time: {t_s * 1e3:.2f} ms{use}\n"
        )
        return t_s

    plan = ReplicaPlan(
        memory=lambda _: BlockCache(trace.content, BLOCK_TOKENS, BLOCKS),
        latency=IterationTime(TRUTH),
        options=SchedulerOptions(2048, 128, async_scheduling=False),
        compute=log,
    )
    Fleet(trace, [plan], RoundRobin).run()
    path.write_text("".join(lines))
    return path
