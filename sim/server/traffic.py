"""The requests of a live server as a trace that grows."""

from __future__ import annotations

from sim.server.live import Ask
from workloads.checking import check
from workloads.content import ROOT
from workloads.growing import GrowingTree
from workloads.trace import Trace

ORIGIN = "live traffic"


class Traffic:
    """What clients sent so far: a `Trace` with a request more for each `Ask`.

    It keeps a row per request and 4 bytes per token that no earlier request had, which is what the recorded
    trace needs; nothing else grows.
    """

    def __init__(self, seed: int, *, hosted: bool = False) -> None:
        """``hosted``: marks and cache keys are kept too; who sends the same key is a tenant."""
        self.trace = Trace(messages=True, was_live=True, grows=True, seed=seed, origin=ORIGIN)
        self._tree = GrowingTree(self.trace.content)
        self.trace._chains = self._tree.chains
        self.left_after_s: dict[int, float] = {}
        """Requests whose clients have left, and how long after their arrival."""
        self.trace.continuations = self._tree.continued
        self._sessions: dict[str, int] = {}
        self._turns: dict[int, int] = {}  # session: its turns so far
        self._keys: dict[str, int] | None = None
        if hosted:
            self._keys, self.trace.marks = {}, []
        self._answers: dict[int, int] = {}  # where a reply ends: its session

    def add(self, ask: Ask, at_s: float) -> int:
        """Add the request, which arrives at ``at_s``, and return its index. O(tokens)."""
        trace, tree = self.trace, self._tree
        ends = {*ask.message_ends, *(mark.tokens for mark in ask.marks), ask.system_tokens}
        prompt = tree.insert(ask.prompt, ends)
        places = [(self._at(prompt, mark.tokens), mark.ttl_s or 0.0) for mark in ask.marks]
        if trace.marks is not None:
            trace.marks.append([mark for mark in places if mark[0] != ROOT])
        if ask.system_tokens and (system := self._at(prompt, ask.system_tokens)) != ROOT:
            trace.system_messages.add(system)
        session = self._session(ask.session, prompt)
        turn = self._turns[session] = self._turns.get(session, 0) + 1
        if len(ask.reply):
            reply = tree.insert(ask.reply, after=prompt)
            self._answers[reply] = session
        else:
            reply = tree.append(prompt, ask.output_tokens)
        return trace.add(
            prompt=prompt,
            reply=reply,
            output_tokens=trace.content.end[reply] - trace.content.end[prompt],
            arrival_s=at_s,
            session=session,
            turn=turn,
            tenant=self._tenant(ask.cache_key),
        )

    def shared_tokens(self, one: int, other: int) -> int:
        """How many tokens the prompts of two requests begin with in common."""
        trace = self.trace
        return trace.content.end[trace.content.shared(trace.prompt[one], trace.prompt[other])]

    def _tenant(self, key: str | None) -> int:
        if self._keys is None or key is None:
            return 0
        return self._keys.setdefault(key, len(self._keys) + 1)

    def _at(self, segment: int, tokens: int) -> int:
        end, parent = self.trace.content.end, self.trace.content.parent
        while end[segment] > tokens:
            segment = parent[segment]
        return segment if end[segment] == tokens else ROOT

    def _session(self, named: str, prompt: int) -> int:
        """The session that the client names; else that of the last reply which the prompt resends."""
        if named in self._sessions:
            return self._sessions[named]
        if named:
            self._sessions[named] = len(self._turns)
            return self._sessions[named]
        parent, at = self.trace.content.parent, prompt
        while at != ROOT:
            if at in self._answers:
                return self._answers[at]
            at = parent[at]
        return len(self._turns)

    def check(self) -> None:
        """Assert that trace and tree agree; O(tokens)."""
        self._tree.check()
        check(self.trace)
