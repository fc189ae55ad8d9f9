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
        if batch.shares is not None and batch.shares.sampled is not None:
            drafted = batch.shares.drafted
            drafts_s = 0.0 if self._drafter is None else self._drafter.step_s(batch, drafted)
            return verification_s(latency, batch, drafted) + drafts_s
        if not chunks:
            return latency.decodes_s(decodes, batch.context, batch.uneven)
        seconds = latency.decode_s(decodes, batch.context, batch.uneven, batch.tokens - decodes)
        for _, before, new in chunks:
            seconds += latency.prefill_s(before, new)
        return seconds + latency.fixed_s(batch.tokens, decodes + len(chunks))

    def start_run(self, batch: Batch, ahead: Batch | None, decodes: Decodes, steps: int) -> None:
        """Compute ``steps`` steps: ``batch``, what is ahead if that computes prompts, and ``decodes``
        alone."""
        latency = self._latency
        if ahead is not None and ahead.chunks:
            count, context, uneven = decodes.count, decodes.context, decodes.uneven
            lead_s, next_s = self.of(batch), self.of(ahead)
            leads, led_s = [(batch, lead_s), (ahead, next_s)], lead_s + next_s
        else:
            if ahead is None:  # those that this step completes decode too
                count, context, uneven = decodes.count, decodes.context, decodes.uneven
            else:
                count, context, uneven = ahead.decodes, ahead.context, ahead.uneven
            if batch.decodes == count and not batch.chunks and not batch.lost:
                first_s, slope_s, steps = latency.run(count, batch.context, batch.uneven, steps)
                self._timer.start(first_s, slope_s, steps)
                return
            led_s = self.of(batch)
            leads = [(batch, led_s)]
        self._notes.begins(count, context)
        first_s, slope_s, run = latency.run(count, context, uneven, steps - len(leads))
        self._timer.start_led(leads, led_s, first_s, slope_s, run)
