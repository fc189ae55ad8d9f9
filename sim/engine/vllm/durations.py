"""How long the steps of a replica of vLLM take."""

from __future__ import annotations

from sim.engine.batch import Decodes
from sim.engine.latency import IterationTime
from sim.engine.timer import Timer
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.notes import Notes
from sim.engine.vllm.speculation import Drafter, verification_s


class Durations:
    """The duration of one step by the latency model, and of a run of them, which it starts.

    Steps that come before a run of equal ones are its leads: a step with a prompt, say, after which more
    requests decode.
    """

    def __init__(
        self, latency: IterationTime, timer: Timer, notes: Notes, drafter: Drafter | None = None
    ) -> None:
        self._drafter = drafter
        self._latency = latency
        self._timer = timer
        self._notes = notes

    def of(self, batch: Batch) -> float:
        """How long ``batch`` takes, s."""
        latency, chunks, decodes = self._latency, batch.chunks, batch.decodes
        if batch.sampled is not None:
            drafts_s = 0.0 if self._drafter is None else self._drafter.step_s(batch)
            return verification_s(latency, batch) + drafts_s
        if not chunks:
            return latency.decodes_s(decodes, batch.context, batch.uneven)
        seconds = latency.decode_s(decodes, batch.context, batch.uneven, batch.tokens - decodes)
        for _, before, new in chunks:
            seconds += latency.prefill_s(before, new)
        return seconds + latency.fixed_s(batch.tokens, decodes + len(chunks))

    def start_run(
        self, batch: Batch, seconds: float, ahead: Batch | None, decodes: Decodes, steps: int
    ) -> None:
        """Compute ``steps`` steps: ``batch``, which takes ``seconds``, what is ahead if that computes
        prompts, and ``decodes`` alone."""
        latency = self._latency
        if ahead is None or ahead.chunks:  # those that it completes decode too
            count, context, uneven = decodes.count, decodes.context, decodes.uneven
        else:
            count, context, uneven = ahead.decodes, ahead.context, ahead.uneven
        leads, leads_s = [batch], [seconds]
        if ahead is not None and ahead.chunks:
            leads.append(ahead)
            leads_s.append(self.of(ahead))
        elif batch.decodes == count and not batch.lost and not batch.chunks:
            slope_s, steps = latency.growth(count, batch.context, steps)
            self._timer.start((), seconds, slope_s, steps)
            return
        self._notes.begins(leads, count, context)
        slope_s, run = latency.growth(count, context, steps - len(leads))
        first_s = latency.decodes_s(count, context, uneven)
        self._timer.start(leads_s, first_s, slope_s, len(leads) + run)
