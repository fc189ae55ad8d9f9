"""Faults on demand: which of them a request gets, and what they do to its stream."""

from __future__ import annotations

from dataclasses import dataclass

from sim.server.api.errors import ApiError, retry_after
from sim.server.options import Faults
from workloads.seeds import stream

MALFORMED = b'data: {"id": "malformed", "choices": [{"index": 0, "delta": {"con\n\n'
ERROR_MESSAGES = {
    400: "Bad request (a fault on demand)",
    401: "Incorrect API key provided (a fault on demand)",
    404: "Not found (a fault on demand)",
    413: "Request exceeds the maximum size (a fault on demand)",
    429: "Rate limit reached (a fault on demand)",
    500: "Internal server error (a fault on demand)",
    503: "Service unavailable (a fault on demand)",
    529: "Overloaded (a fault on demand)",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls the stream of one request in its middle."""

    cut: bool = False
    truncated: bool = False
    malformed: bool = False
    stall_s: float = 0.0

    @property
    def is_none(self) -> bool:
        return not (self.cut or self.truncated or self.malformed or self.stall_s)


class Misfortune:
    """Draws the fate of each request. The draws of one fault do not move those of another."""

    def __init__(self, seed: int) -> None:
        kinds = ("error", "cut", "truncated", "malformed", "stall")
        self._streams = {kind: stream(seed, f"server: fault {kind}") for kind in kinds}

    def draw(self, faults: Faults, up_s: float) -> Fate:
        """Raises ApiError where the request gets an error; ``up_s``: how long the server has been up."""
        drawn = {kind: float(rng.random()) for kind, rng in self._streams.items()}
        if up_s < faults.slow_start_s:
            wait_s = faults.slow_start_s - up_s
            raise ApiError(503, "The model is still being loaded", headers=retry_after(wait_s))
        if drawn["error"] < faults.error_share:
            status = faults.error_status
            headers = retry_after(1.0) if status in (429, 503, 529) else {}
            raise ApiError(status, ERROR_MESSAGES[status], headers=headers)
        return Fate(
            cut=drawn["cut"] < faults.cut_share,
            truncated=drawn["truncated"] < faults.truncated_share,
            malformed=drawn["malformed"] < faults.malformed_share,
            stall_s=faults.stall_s if drawn["stall"] < faults.stall_share else 0.0,
        )
