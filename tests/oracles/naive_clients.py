"""Impatient clients of a hosted API written down call by call, with their bills in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from tests.oracles.naive_provider import NaiveBreakpoints, Prompt


@dataclass
class NaiveCall:
    """One call: what it found and wrote, and what was generated before the client hung up."""

    request: int
    at_s: Fraction
    read: int
    written: int
    output: int
    answered: bool


@dataclass
class NaiveClients:
    """Requests with a prompt, a reply and a deadline each; Anthropic's rules, marks at prompts' ends.

    The first token comes 1 s after a call was sent, each further one a second later. A call that is not
    over at its deadline is sent again ``backoff_s`` after that, then twice as long after, up to ``most``
    times.
    """

    cache: NaiveBreakpoints
    prompts: list[Prompt]
    output: list[int]
    deadline_s: list[Fraction]
    most: int
    backoff_s: Fraction
    calls: list[NaiveCall] = field(default_factory=list)

    def run(self, at_s: list[Fraction]) -> None:
        """Every call in order of (time, request)."""
        due = [(at, request, 0) for request, at in enumerate(at_s)]
        while due:
            call = min(due)
            due.remove(call)
            at, request, tries = call
            stops = at + self.deadline_s[request]
            prompt = self.prompts[request]
            read, written = self.cache.serve(prompt, [len(prompt)], float(at), float(at + 1))
            tokens_at = [at + 1 + second for second in range(self.output[request])]
            answered = tokens_at[-1] <= stops
            there = sum(token <= stops for token in tokens_at)
            self.calls.append(NaiveCall(request, at, read, written, there, answered))
            if not answered and tries < self.most:
                due.append((stops + self.backoff_s * 2**tries, request, tries + 1))

    def micro_usd(self, request: int, uncached: int, write: int, read: int, output: int) -> int:
        """What ``request`` costs, at whole prices in USD per million tokens."""
        total = 0
        for call in self.calls:
            if call.request == request:
                tokens = sum(length for _, length in self.prompts[request])
                total += (tokens - call.read - call.written) * uncached + call.written * write
                total += call.read * read + call.output * output
        return total
