"""A logged model call, and which calls belong together."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.formats.history import REPLYING, START, Histories
from workloads.trace import NONE


@dataclass(slots=True)
class Call:
    """One request as a log shows it; None where it shows nothing."""

    where: str
    line: int
    session: str | None = None
    sent_s: float | None = None
    """Seconds since any zero that all calls have in common."""
    ended_s: float | None = None
    node: int | None = None
    """The last message of the prompt in the trace's `Histories`; None if no text was logged."""
    reply: int | None = None
    """The message that answers it, behind ``node``."""
    input_tokens: int | None = None
    """Of the whole prompt, cached tokens included."""
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    """Part of ``output_tokens`` that is not resent."""
    read_tokens: int | None = None
    """What the provider says it found in its cache."""
    written_tokens: tuple[int, int] | None = None
    """What it says it wrote to its cache: for the usual lifetime, and for the long one."""
    model: str | None = None
    client: str = ""
    """The version of the client that sent it."""
    effort: str = ""
    """How much the model was asked to think."""
    project: str = ""
    """The folder that the client worked in."""
    cut: str = ""
    """What the client says it did to the history before this call (``compact_boundary``)."""
    answers_tool: bool | None = None
    """Whether it answers a tool's result, where the log tells."""
    said: str = ""
    """Why the provider says that it found less than the call before had left."""
    head: int | None = None
    """The node of the unlogged head that the prompt begins with."""
    parent: str | None = None
    """The session that started this one."""
    tenant: str | None = None
    delay_s: float | None = None
    """Between the reply before it and this call, where the log says it."""
    waits: bool = False
    """Whether it has no time but its delay."""
    turn: int = 1
    follows: int = NONE
    """The place of the call before it in its session."""
    continues: int = NONE
    """The place of the call whose reply this prompt contains."""


def link(calls: list[Call], histories: Histories) -> None:
    """Fill in sessions, turns and which call continues which; calls are in their order.

    A call continues the latest one whose prompt it begins with, followed by a reply; one of its own
    session first. Where the log has no sessions, it belongs to the session of the call it continues.
    """
    latest: dict[str, int] = {}
    by_prompt: dict[int, int] = {}
    of_session: dict[tuple[str, int], int] = {}
    for place, call in enumerate(calls):
        found = _continued(call, histories, by_prompt, of_session)
        if call.session is None:
            earlier = None if found == NONE else calls[found].session
            call.session = f"s{len(latest) + 1}" if earlier is None else earlier
        call.follows = latest.get(call.session, NONE)
        if call.follows != NONE:
            call.turn = calls[call.follows].turn + 1
        call.continues = call.follows if call.node is None else found
        latest[call.session] = place
        if call.node is not None:
            by_prompt[call.node] = of_session[call.session, call.node] = place


def _continued(
    call: Call, histories: Histories, by_prompt: dict[int, int], of_session: dict[tuple[str, int], int]
) -> int:
    """The place of the call whose reply is the last one known in this prompt."""
    node = START if call.node is None else call.node
    while node != START:
        before = histories.before[node]
        if histories.role[node] in REPLYING and before in by_prompt:
            return of_session.get((call.session or "", before), by_prompt[before])
        node = before
    return NONE
