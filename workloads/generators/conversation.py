"""A client's side of a conversation: its messages, and where in the content tree they stand."""

from __future__ import annotations

from workloads.content import ROOT
from workloads.habits import Habits
from workloads.trace import Trace


class SystemMessages:
    """The system messages of a trace: a part that requests share, then a part that is always new.

    ``shared``: whether any two requests send the same text; if not, all of it is new every time.
    """

    def __init__(self, trace: Trace, tokens: int, shared: bool, habits: Habits) -> None:
        self._trace = trace
        stable, changing = habits.system_parts(tokens)
        self._stable, self._changing = (stable, changing) if shared else (0, stable + changing)
        self.changes = not shared or changing > 0
        """Whether each request has a system message of its own."""
        self._owned: dict[int, int] = {}

    def of(self, owner: int) -> int:
        """The segment at which the next request's system message ends; the root if there is none.

        Requests with the same ``owner`` share the stable part.
        """
        content, at = self._trace.content, ROOT
        if self._stable:
            if owner not in self._owned:
                self._owned[owner] = content.append(ROOT, self._stable)
            at = self._owned[owner]
        if self._changing:
            new = content.append(at, self._changing)
            if at != ROOT:
                self._trace.continuations.add(new)
            at = new
        if at != ROOT:
            self._trace.system_messages.add(at)
        return at


class Conversation:
    """The history of one session as its client will send it, habits applied.

    A message stays at its segment as long as everything before it stays the same; what comes after a
    change is the same text behind other content, so it is new content.
    """

    def __init__(self, trace: Trace, habits: Habits) -> None:
        self._trace = trace
        self._habits = habits
        self._system = ROOT
        self._messages: list[int] = []  # their lengths, tokens
        self._path: list[int] = []  # segments of the leading ones that stand where they were last sent

    def begin_with(self, system: int) -> None:
        """Send everything behind the system message that ends at ``system`` from now on."""
        self._system = system
        self._path.clear()

    def ask(self, user_tokens: int) -> int:
        """Revise the history, add a user message and return the segment at which the prompt ends."""
        content, habits = self._trace.content, self._habits
        unchanged = habits.history.revise(self._messages)
        del self._path[unchanged:]
        self._messages.append(user_tokens + habits.kept_user_tokens)
        at = self._path[-1] if self._path else self._system
        for tokens in self._messages[len(self._path) :]:
            at = content.append(at, tokens)
            self._path.append(at)
        if habits.dropped_user_tokens:
            at = content.append(at, habits.dropped_user_tokens)
            self._trace.continuations.add(at)
        return at

    def answered(self, reply_tokens: int, reply: int) -> None:
        """Add the reply to the last question, which was generated at the segment ``reply``."""
        self._messages.append(reply_tokens)
        if not self._habits.dropped_user_tokens:  # else it will stand behind a shorter message
            self._path.append(reply)
