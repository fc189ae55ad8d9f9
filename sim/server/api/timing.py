"""vLLM's ``metrics`` of one request, in its reply where the client asks for it (``include_metrics``)."""

from __future__ import annotations

import math
from typing import Any

from sim.server.api.base import Served
from sim.server.live import Times


def timing(times: Times, output_tokens: int) -> dict[str, float]:
    """What the request took, in simulated time; what is not known is left out.

    >>> timing(Times(arrival_s=1.0, scheduled_s=1.5, first_token_s=2.0, finished_s=4.0), 5)["mean_itl_ms"]
    500.0
    """
    decode_s = times.finished_s - times.first_token_s
    found = {
        "time_to_first_token_ms": 1e3 * (times.first_token_s - times.arrival_s),
        "generation_time_ms": 1e3 * decode_s,
        "queue_time_ms": 1e3 * (times.scheduled_s - times.arrival_s),
    }
    if output_tokens > 1:
        found["mean_itl_ms"] = 1e3 * decode_s / (output_tokens - 1)
    if decode_s > 0:
        found["tokens_per_second"] = (output_tokens - 1) / decode_s
    return {name: value for name, value in found.items() if not math.isnan(value)}


def metrics_of(served: Served) -> dict[str, Any]:
    """``{"metrics": ...}``, or nothing: not asked for, several replies, or a hosted API, which has none."""
    asked = served.call.body.get("include_metrics") is True
    if not asked or len(served.replies) > 1 or served.about.kind != "engine":
        return {}
    return {"metrics": timing(served.replies[0].times, served.replies[0].usage.output_tokens)}
