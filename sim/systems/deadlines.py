"""When clients hang up, as a system's ``deadline_s`` says: one draw for each request."""

from __future__ import annotations

from workloads.lengths import Distribution, Floats
from workloads.seeds import stream


def drawn(deadline_s: Distribution, seed: int, requests: int) -> Floats:
    """Deadlines of the first ``requests`` requests, s after each is sent; more begin with the same ones."""
    return deadline_s.sample(stream(seed, "deadline"), requests)
