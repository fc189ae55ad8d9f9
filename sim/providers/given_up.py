"""Calls that their client gave up at its deadline: what the provider had done by then, and bills."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from sim.providers.entries import Found
from workloads.clients import Retries


@dataclass(frozen=True, slots=True)
class Patience:
    """How long clients wait for a reply and what they do without one.

    ``deadline_s`` goes by request and counts from each sending of it.
    """

    deadline_s: list[float]
    retries: Retries | None = None


def generated_tokens(first_s: float, tpot_s: float, output_tokens: int, stops_s: float) -> int:
    """Output tokens that are there at ``stops_s``, the one of that instant included; not the last one.

    >>> generated_tokens(first_s=10, tpot_s=0.5, output_tokens=100, stops_s=11)
    3
    >>> generated_tokens(first_s=10, tpot_s=0.5, output_tokens=100, stops_s=9)
    0
    """
    if stops_s < first_s:
        return 0
    more = int((stops_s - first_s) / tpot_s)
    # The quotient may be off by one where a token comes at the very instant.
    while first_s + more * tpot_s > stops_s:
        more -= 1
    while first_s + (more + 1) * tpot_s <= stops_s:
        more += 1
    return min(more + 1, output_tokens - 1)


class GivenUp:
    """The calls that were given up, one entry each, in the order in which they were sent."""

    def __init__(self, lifetimes: int) -> None:
        self.request = array("q")
        self.sent_s = array("d")
        self.output_tokens = array("q")
        self.read_tokens = array("q")
        self.written_tokens = [array("q") for _ in range(lifetimes)]
        self.created_tokens = array("q")
        self.storage_s = array("d")

    def add(self, request: int, sent_s: float, output_tokens: int, found: Found) -> None:
        """Note the call of ``request`` sent at ``sent_s``; ``found`` has what it read and wrote."""
        self.request.append(request)
        self.sent_s.append(sent_s)
        self.output_tokens.append(output_tokens)
        self.read_tokens.append(found.read_tokens[request])
        for mine, written in zip(self.written_tokens, found.written_tokens, strict=True):
            mine.append(written[request])
        self.created_tokens.append(found.created_tokens[request])
        self.storage_s.append(found.storage_s[request])
