"""Why a call read less than the calls before it had left, in the order in which causes are asked for."""

from __future__ import annotations

from sim.doctor.billed import Call
from sim.doctor.predict import Predicted
from sim.providers.schema import Rules

CAUSES = {
    "first_call": "the first call of a thread: nothing before it in the log",
    "below_minimum": "the prompt is shorter than the model's minimum",
    "model_changed": "another model than the call before; caches are per model",
    "compaction": "the client replaced the history by a summary",
    "microcompaction": "the client cleared old tool results",
    "shortened": "the prompt does not go on where the one before ended (messages changed)",
    "expired": "the pause was longer than the lifetime",
    "lost_but_head": "within the lifetime, yet only a head of the prompt was found",
    "lost": "within the lifetime, yet nothing was found",
    "partly_lost": "within the lifetime, yet an older and shorter entry was found",
    "unlogged": "more was found than the calls in the log had left: there are others",
}
"""Every cause with what it means."""
HEAD_SHARE = 0.5
"""A read of at most so much of what was there counts as the head of the prompt alone."""
BOUNDARIES = {
    "compact": "compaction",
    "compact_boundary": "compaction",
    "microcompact_boundary": "microcompaction",
}
"""What a log calls the places where a client cuts its history."""


def excess_tokens(call: Call, before: Call | None) -> int:
    """Tokens that were written or computed although the call before had left them; all of a first call."""
    left = call.marked if before is None else min(before.marked, call.marked)
    return max(0, left - call.billed.read)


def cause(call: Call, before: Call | None, predicted: Predicted, rules: Rules) -> str | None:
    """The cause of what ``call`` missed of the prompt of ``before``, or found beyond it; None: nothing."""
    read = call.billed.read
    if before is None:
        return "first_call" if read < call.marked else None
    if read >= before.marked:
        return "unlogged" if read > before.marked else None
    if call.marked < rules.min_tokens:
        return "below_minimum"
    if call.model != before.model:
        return "model_changed"
    if call.how in BOUNDARIES:
        return BOUNDARIES[call.how]
    if call.how == "shorter" or predicted.before is None or predicted.before.tokens < before.marked:
        return "shortened"
    if predicted.tokens.read < before.marked:
        return "expired"
    if not read:
        return "lost"
    return "lost_but_head" if read <= HEAD_SHARE * before.marked else "partly_lost"
