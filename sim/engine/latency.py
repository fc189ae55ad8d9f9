"""How long an iteration takes, from a profile's coefficients."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from sim.hardware.coefficients import Coefficients, Domain


class IterationTime:
    """The profile's formula, and its closed form for a run of decode iterations.

    While the batch stays the same, every decode iteration reads one more KV token per request, so its
    time grows by a constant: iteration j of a run takes ``first + j * slope``, j from 0. ``uneven`` is the
    number of KV tokens by which the decodes fall short of the longest one: the same in all of a run.
    """

    def __init__(self, coefficients: Coefficients, domain: Domain | None = None) -> None:
        self._c = coefficients
        self._pair_s = coefficients.pair
        self._rectangle_s = coefficients.rectangle
        self._prefill_kv_s = coefficients.prefill_kv
        self._prefill_s = coefficients.prefill
        self._decode_kv_s = coefficients.decode_kv
        self._uneven_s = coefficients.uneven
        self.is_uneven = coefficients.uneven > 0
        """Whether it counts by how much decodes fall short of the longest."""
        self._beside_s = coefficients.beside
        self._beside_token_s = coefficients.beside_token
        self._beside_kv_s = coefficients.beside_kv
        self._is_slower_beside = any((self._beside_s, self._beside_token_s, self._beside_kv_s))
        self.request_s = coefficients.request
        self.depth = coefficients.depth
        """By how much later its client sees a request begin and end: s, and times per output token."""
        self._domain = None if domain is None else Box(domain)
        self.is_bounded = domain is not None
        """Whether there is a domain outside of which times are extrapolated."""
        self._windows = tuple(coefficients.windows)
        self._hinges = tuple(coefficients.hinges.items())
        self._sequence_hinges = tuple(coefficients.sequence_hinges.items())
        self._knots = sorted(coefficients.correction)
        self._factors = [coefficients.correction[knot] for knot in self._knots]
        self._fixed_s: dict[tuple[int, int], float] = {}
        self._decodes_fixed_s: dict[int, float] = {}

    def fixed_s(self, tokens: int, sequences: int) -> float:
        """The part that depends only on the numbers of new tokens and of sequences, in s."""
        key = (tokens, sequences)
        known = self._fixed_s.get(key)
        if known is None:
            c = self._c
            floor, compute = c.floor, c.token * tokens
            if c.experts:
                floor += c.experts * (1.0 - (1.0 - c.touched) ** tokens)
            if c.p is None:
                weights = max(floor, compute)
            else:
                weights = (floor**c.p + compute**c.p) ** (1 / c.p)
            if self._knots:
                weights *= self._correction(tokens)
            for upto, token_s in self._hinges:
                weights += token_s * min(tokens, upto)
            for upto, sequence_s in self._sequence_hinges:
                weights += sequence_s * min(sequences, upto)
            known = self._fixed_s[key] = c.step + weights + c.sequence * sequences + c.link * tokens
        return known

    def _correction(self, tokens: int) -> float:
        """The factor of the weights' term: a line in log T between the knots."""
        knots, factors = self._knots, self._factors
        after = bisect_right(knots, tokens)
        if after == 0:
            return factors[0]
        if after == len(knots):
            return factors[-1]
        low, high = knots[after - 1], knots[after]
        part = math.log(tokens / low) / math.log(high / low)
        return factors[after - 1] + part * (factors[after] - factors[after - 1])

    def prefill_s(self, cached: int, new: int) -> float:
        """What one prefill of ``new`` tokens over ``cached`` ones adds to an iteration, in s."""
        upto = cached + new
        seconds = self._pair_s * new * (cached + (new + 1) / 2) + self._rectangle_s * new * upto
        seconds = seconds + self._prefill_kv_s * upto + self._prefill_s
        for window in self._windows:
            size = window.tokens
            seconds += window.pair * pairs_seen(cached, new, size, window.chunked)
            before = cached % size if window.chunked else min(cached, size - 1)
            seconds += window.prefill_kv * (before + new)
        return seconds

    def decode_s(self, decodes: int, context: int, uneven: int = 0, prompt_tokens: int = 0) -> float:
        """What ``decodes`` decodes with ``context`` tokens in KV together add, in s.

        ``prompt_tokens`` are the new ones of prefills beside them; 0: there is none. A window that their
        mean context has outgrown is full for each of them; of a chunk half is seen.
        """
        kv_tokens = context + decodes
        seconds = self._decode_kv_s * kv_tokens + self._uneven_s * uneven
        if prompt_tokens and self._is_slower_beside:
            seconds += (self._beside_s + self._beside_token_s * prompt_tokens) * decodes
            seconds += self._beside_kv_s * kv_tokens
        for window in self._windows:
            full = window.tokens * decodes
            seen = float(kv_tokens)
            if seen > full:
                seen = full / 2 if window.chunked else float(full)
            seconds += window.decode_kv * seen
        return seconds

    def verify_s(
        self, decodes: int, context: int, drafted: int, uneven: int = 0, prompt_tokens: int = 0
    ) -> float:
        """The same where they compute ``drafted`` drafts too, in s.

        The KV of a request is read once for all of its tokens, or computed with for each of them.
        """
        seconds = self.decode_s(decodes, context + drafted, uneven, prompt_tokens)
        pair_s = self._c.decode_pair * (decodes + drafted)
        if pair_s > self._decode_kv_s * decodes:
            seconds += (pair_s / decodes - self._decode_kv_s) * (context + decodes + drafted)
        return seconds

    def decodes_s(self, decodes: int, context: int, uneven: int = 0) -> float:
        """How long an iteration of ``decodes`` decodes alone takes, in s."""
        fixed_s = self._decodes_fixed_s.get(decodes)
        if fixed_s is None:
            fixed_s = self._decodes_fixed_s[decodes] = self.fixed_s(decodes, decodes)
        if self._windows:
            return self.decode_s(decodes, context, uneven) + fixed_s
        return self._decode_kv_s * (context + decodes) + self._uneven_s * uneven + fixed_s

    def run(self, decodes: int, context: int, uneven: int, steps: int) -> tuple[float, float, int]:
        """A run of decode iterations of the same batch: how long the first one takes and by how much each
        further one takes longer, in s, and how many of ``steps`` do: until a window is full."""
        fixed_s, kv_s = self._decodes_fixed_s.get(decodes), self._decode_kv_s
        if fixed_s is not None and not self._windows:  # `decodes_s` without a call
            return kv_s * (context + decodes) + self._uneven_s * uneven + fixed_s, kv_s * decodes, steps
        first, slope = self.decodes_s(decodes, context, uneven), kv_s * decodes
        for window in self._windows:
            left = window.tokens * decodes - context
            if left >= decodes > 0:
                slope += window.decode_kv * decodes
                steps = min(steps, left // decodes)
        return first, slope, steps

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
        if not prefills and domain.covers_decodes(decodes, context + decodes, context + decodes * steps):
            return 0.0  # as nearly always
        tokens, kv, cached = decodes, context + decodes, 0
        for held, new in prefills:
            tokens += new
            kv += held + new
            if held > cached:
                cached = held
        inside = 0
        if domain.covers(tokens, decodes + len(prefills), cached, kv):
            spare = domain.most_kv_tokens - kv
            if (steps - 1) * decodes <= spare:
                return 0.0
            inside = 1 + spare // decodes
        return run_s(first, slope, steps) - run_s(first, slope, inside)


class Box:
    """A profile's domain, asked for every iteration."""

    __slots__ = (
        "_least_cached", "_least_decodes", "_least_kv_tokens", "_least_sequences", "_least_tokens",
        "_most_cached", "_most_decodes", "_most_sequences", "_most_tokens", "most_kv_tokens",
    )  # fmt: skip

    def __init__(self, domain: Domain) -> None:
        self._least_tokens, self._most_tokens = domain.tokens
        self._least_sequences, self._most_sequences = domain.sequences
        self._least_cached, self._most_cached = domain.cached
        self._least_kv_tokens, self.most_kv_tokens = domain.kv_tokens
        self._least_decodes = max(self._least_tokens, self._least_sequences)
        self._most_decodes = min(self._most_tokens, self._most_sequences) if self._least_cached <= 0 else -1

    def covers(self, tokens: int, sequences: int, cached: int, kv_tokens: int) -> bool:
        """Whether an iteration lies in the box; ``cached`` is that of its longest prefill."""
        return (
            self._least_tokens <= tokens <= self._most_tokens
            and self._least_sequences <= sequences <= self._most_sequences
            and self._least_cached <= cached <= self._most_cached
            and self._least_kv_tokens <= kv_tokens <= self.most_kv_tokens
        )

    def covers_decodes(self, decodes: int, kv_tokens: int, upto: int) -> bool:
        """The same for iterations of ``decodes`` decodes alone, with ``kv_tokens`` after the first and
        ``upto`` after the last."""
        return (
            self._least_decodes <= decodes <= self._most_decodes
            and self._least_kv_tokens <= kv_tokens
            and upto <= self.most_kv_tokens
        )


def pairs_seen(cached: int, new: int, size: int, chunked: bool = False) -> int:
    """Pairs of ``new`` tokens behind ``cached`` ones with what each sees, itself included.

    Token number i (from 0) sees min(i + 1, size) tokens, or those of its chunk, i % size + 1.

    >>> pairs_seen(0, 5, 3), pairs_seen(2, 3, 3), pairs_seen(0, 5, 3, chunked=True)
    (12, 9, 9)
    """

    def seen(tokens: int) -> int:
        whole, rest = divmod(tokens, size)
        if chunked:
            return whole * (size * (size + 1) // 2) + rest * (rest + 1) // 2
        if not whole:
            return rest * (rest + 1) // 2
        return size * (size + 1) // 2 + (tokens - size) * size

    return seen(cached + new) - seen(cached)


def run_s(first: float, slope: float, steps: int) -> float:
    """Duration of ``steps`` iterations that take ``first``, ``first + slope``, ... s."""
    return first * steps + slope * (steps * (steps - 1) // 2)


def steps_to_reach(first: float, slope: float, elapsed: float) -> int:
    """The smallest number of such iterations that takes at least ``elapsed`` s, at least 1."""
    # No calls, as this is asked at every arrival: below stands `run_s`, and the guess need not be exact.
    if slope > 0:
        a = first - slope / 2
        steps = int(((a * a + 2 * slope * elapsed) ** 0.5 - a) / slope) + 1
    else:
        steps = int(elapsed / first) + 1
    while first * steps + slope * (steps * (steps - 1) // 2) < elapsed:
        steps += 1
    while steps > 1 and first * (steps - 1) + slope * ((steps - 1) * (steps - 2) // 2) >= elapsed:
        steps -= 1
    return steps
