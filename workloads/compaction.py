"""A client that replaces its history by a summary once a prompt has grown too long."""

from __future__ import annotations

from pydantic import PositiveInt, model_validator

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.keep_warm import add_like
from workloads.schema import Schema
from workloads.trace import NONE, Trace


class Compact(Schema):
    """``{at_tokens, to_tokens}``: a prompt above ``at_tokens`` is sent with its history as a summary.

    The prompt is then the system message, where the trace knows one, the summary, with which it has
    ``to_tokens`` tokens, and what is new in it. The summary is the reply to a request of its own, which
    sends the history once more and comes just before. Later turns go on from the summary.
    """

    at_tokens: PositiveInt = 150_000
    """Length of a prompt, in tokens, above which it is compacted."""
    to_tokens: PositiveInt = 50_000
    """Length of system message and summary together after that, in tokens."""

    @model_validator(mode="after")
    def _shorter(self) -> Compact:
        if self.to_tokens >= self.at_tokens:
            raise ValueError(f"to_tokens ({self.to_tokens}) must be less than at_tokens ({self.at_tokens})")
        return self

    def apply(self, trace: Trace) -> None:
        """Replace histories in ``trace``. O(requests + segments)."""
        if trace.lengths_only:
            raise InputError(
                "clients.compact: the trace does not say what prompts share; allowed: one that does"
            )
        clients = _Clients(trace, self)
        for _, request in trace.instant_order():
            clients.send(request)
        if clients.compactions:
            trace.notes.append(
                f"{clients.compactions:,} histories were replaced by summaries; the requests that write "
                "them are counted in every figure"
            )


class _Clients:
    """All conversations of a trace, with where their prompts stand now."""

    def __init__(self, trace: Trace, policy: Compact) -> None:
        self.compactions = 0
        self._trace, self._policy = trace, policy
        self._moved: dict[tuple[int, int], int] = {}
        """Where a segment's content stands now for the prompts of a session, by (session, segment)."""
        self._place = (list(trace.prompt), list(trace.reply))
        """Prompts and replies as the workload has them."""
        self._before = list(trace.continues)
        for earlier, later in enumerate(trace.follower):
            if later != NONE:
                self._before[later] = earlier
        self._size = trace.block_id_tokens or 1

    def send(self, request: int) -> None:
        """Put the prompt of ``request`` where its history stands, and cut that if it is too long."""
        trace, (prompts, replies) = self._trace, self._place
        session, before = trace.session[request], self._before[request]
        prompt = self._rebuilt(session, prompts[request])
        if before != NONE and trace.content.end[prompt] > self._policy.at_tokens:
            prompt = self._cut(request, before, session) or prompt
        if prompt == prompts[request]:
            return
        if trace.named_blocks is not None:
            shorter = trace.content.end[prompts[request]] - trace.content.end[prompt]
            trace.named_blocks[request] -= shorter // self._size
        self._moved[session, prompts[request]] = trace.prompt[request] = prompt
        trace.reply[request] = self._rebuilt(session, replies[request])

    def _cut(self, request: int, before: int, session: int) -> int | None:
        """The prompt behind a summary; None where there is nothing to replace."""
        content = self._trace.content
        kept = content.shared(self._place[0][request], self._place[1][before])
        head = self._system(self._place[0][request])
        summary = self._policy.to_tokens - content.end[head]
        summary -= summary % self._size
        if kept in (ROOT, head) or summary < 1:
            return None
        history = self._rebuilt(session, kept)
        if content.end[history] <= self._policy.to_tokens:
            return None
        self._summarise(request, before, history, summary)
        self.compactions += 1
        self._moved[session, kept] = content.append(head, summary)
        node = self._place[0][request]
        while node != kept:  # what was put behind the old history stands behind the summary now
            self._moved.pop((session, node), None)
            node = content.parent[node]
        return self._rebuilt(session, self._place[0][request])

    def _summarise(self, request: int, before: int, history: int, tokens: int) -> None:
        """The request that writes the summary: it comes when ``request`` would have, which waits for it."""
        trace = self._trace
        at_s = trace.arrival_s[request]
        new = add_like(
            trace,
            request,
            prompt=history,
            output_tokens=tokens,
            arrival_s=at_s,
            follows=before if at_s is None else NONE,
            think_s=trace.think_s[request] if at_s is None else 0.0,
            continues=before,
        )
        if trace.named_blocks is not None:
            trace.named_blocks[new] = trace.content.end[history] // self._size
        if at_s is None:
            trace.follower[new] = request
            trace.think_s[request] = 0.0

    def _rebuilt(self, session: int, segment: int) -> int:
        """The segment at which the same content ends behind what stands before it now."""
        trace, content = self._trace, self._trace.content
        path = []
        at = segment
        while at != ROOT and (session, at) not in self._moved:
            path.append(at)
            at = content.parent[at]
        if at == ROOT:
            return segment
        new = self._moved[session, at]
        for old in reversed(path):
            tokens = content.end[old] - content.end[content.parent[old]]
            new = self._moved[session, old] = content.append(new, tokens)
            for known in (trace.continuations, trace.resent_replies):
                if old in known:
                    known.add(new)
            if old in trace.several:
                trace.several[new] = trace.several[old]
        return new

    def _system(self, prompt: int) -> int:
        """The system message of a prompt, or the root."""
        content, found = self._trace.content, ROOT
        if self._trace.system_messages:
            found = next(
                (node for node in content.path(prompt) if node in self._trace.system_messages), ROOT
            )
        return found
