"""How long an iteration takes, from a profile's coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim.hardware.profile import Coefficients, Domain


class IterationTime:
    """The profile's formula, and its closed form for a run of decode iterations.

    While the batch stays the same, every decode iteration reads one more KV token per request, so its
    time grows by a constant: iteration j of a run takes ``first + j * slope``, j from 0.
    """

    def __init__(self, coefficients: Coefficients, domain: Domain | None = None) -> None:
        self._c = coefficients
        self._decode_kv_s = coefficients.decode_kv
        self._domain = domain
        self.is_bounded = domain is not None
        """Whether there is a domain outside of which times are extrapolated."""
        self._hinges = tuple(coefficients.hinges.items())
        self._sequence_hinges = tuple(coefficients.sequence_hinges.items())
        self._fixed_s: dict[tuple[int, int], float] = {}
        self._decodes_fixed_s: dict[int, float] = {}

    def fixed_s(self, tokens: int, sequences: int) -> float:
        """The part that depends only on the numbers of new tokens and of sequences, in s."""
        key = (tokens, sequences)
        if key not in self._fixed_s:
            c = self._c
            floor, compute = c.floor, c.token * tokens
            if c.p is None:
                weights = max(floor, compute)
            else:
                weights = (floor**c.p + compute**c.p) ** (1 / c.p)
            for upto, token_s in self._hinges:
                weights += token_s * min(tokens, upto)
            for upto, sequence_s in self._sequence_hinges:
                weights += sequence_s * min(sequences, upto)
            self._fixed_s[key] = c.step + weights + c.sequence * sequences
        return self._fixed_s[key]

    def prefill_s(self, cached: int, new: int) -> float:
        """What one prefill of ``new`` tokens over ``cached`` ones adds to an iteration, in s."""
        c = self._c
        pairs = c.pair * new * (cached + (new + 1) / 2) + c.rectangle * new * (cached + new)
        return pairs + c.prefill_kv * (cached + new) + c.prefill

    def decode_s(self, decodes: int, context: int) -> float:
        """What ``decodes`` decodes with ``context`` tokens in KV together add, in s."""
        return self._decode_kv_s * (context + decodes)

    def decodes_s(self, decodes: int, context: int) -> float:
        """How long an iteration of ``decodes`` decodes alone takes, in s."""
        fixed_s = self._decodes_fixed_s.get(decodes)
        if fixed_s is None:
            fixed_s = self._decodes_fixed_s[decodes] = self.fixed_s(decodes, decodes)
        return self._decode_kv_s * (context + decodes) + fixed_s

    def slope_s(self, decodes: int) -> float:
        """By how much each further decode iteration of the same batch takes longer, in s."""
        return self._decode_kv_s * decodes

    def extrapolated_s(
        self,
        prefills: Sequence[tuple[int, int]],
        decodes: int,
        context: int,
        first: float,
        slope: float = 0.0,
        steps: int = 1,
    ) -> float:
        """Of a run of ``steps`` iterations, the time of those that the profile's domain does not cover.

        ``prefills`` are (cached, new) tokens; ``context`` is what the decodes have in KV at its start.
        """
        domain = self._domain
        if domain is None:
            return 0.0
        tokens, kv, cached = decodes, context + decodes, 0
        for held, new in prefills:
            tokens += new
            kv += held + new
            cached = max(cached, held)
        inside = 0
        if domain.covers(tokens, decodes + len(prefills), cached, kv):
            spare = domain.kv_tokens[1] - kv
            inside = min(steps, 1 + spare // decodes) if decodes else steps
        return run_s(first, slope, steps) - run_s(first, slope, inside)


def run_s(first: float, slope: float, steps: int) -> float:
    """Duration of ``steps`` iterations that take ``first``, ``first + slope``, ... s."""
    return first * steps + slope * (steps * (steps - 1) // 2)


def steps_to_reach(first: float, slope: float, elapsed: float) -> int:
    """The smallest number of such iterations that takes at least ``elapsed`` s, at least 1."""
    if slope > 0:
        a = first - slope / 2
        guess = (math.sqrt(a * a + 2 * slope * elapsed) - a) / slope
    else:
        guess = elapsed / first
    steps = max(1, math.ceil(guess))
    while run_s(first, slope, steps) < elapsed:
        steps += 1
    while steps > 1 and run_s(first, slope, steps - 1) >= elapsed:
        steps -= 1
    return steps
