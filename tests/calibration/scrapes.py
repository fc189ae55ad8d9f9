"""Metrics of our own making: what a simulated run would have counted, written as vLLM writes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.results import metrics
from sim.results.records import Floats, Records

BOUNDS = [0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10, 20, 40, 80, 160]
TOKENS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000]
LABELS = 'engine="0",model_name="my \\"own\\" {model}, 8B"'


def text(records: Records, share: float = 1.0) -> str:
    """All of a run, or its first requests; without ITL, whose gaps a run does not list."""
    n = round(len(records) * share)
    queries, hits = records.input_tokens[:n], records.cache_read_input_tokens[:n]
    parts = [
        "# HELP vllm:num_requests_running Number of requests in model execution batches.",
        "# TYPE vllm:num_requests_running gauge",
        f"vllm:num_requests_running{{{LABELS}}} 0.0",
        "python_gc_objects_collected_total 1.5e+03 1700000000000",
        f"vllm:prefix_cache_queries_total{{{LABELS}}} {queries.sum():.1f}",
        f"vllm:prefix_cache_hits_total{{{LABELS}}} {hits.sum():.1f}",
        *_histogram("vllm:time_to_first_token_seconds", metrics.ttft_s(records)[:n], BOUNDS),
        *_histogram("vllm:request_time_per_output_token_seconds", metrics.tpot_s(records)[:n], BOUNDS),
        *_histogram("vllm:e2e_request_latency_seconds", metrics.e2el_s(records)[:n], BOUNDS),
        *_histogram("vllm:request_prompt_tokens", queries.astype(float), TOKENS),
        *_histogram("vllm:request_generation_tokens", records.output_tokens[:n].astype(float), TOKENS),
    ]
    return "\n".join(parts) + "\n"


def _histogram(name: str, values: Floats, bounds: Sequence[float]) -> list[str]:
    values = values[~np.isnan(values)]
    lines = [f"# TYPE {name} histogram"]
    for bound in [*bounds, np.inf]:
        le = "+Inf" if np.isinf(bound) else f"{float(bound)}"
        lines.append(f'{name}_bucket{{le="{le}",{LABELS}}} {float((values <= bound).sum())}')
    return [
        *lines,
        f"{name}_count{{{LABELS}}} {len(values)}",
        f"{name}_sum{{{LABELS}}} {float(values.sum())!r}",
    ]
