"""A client's side of a conversation: its messages, and where in the content tree they stand."""

from __future__ import annotations

from workloads.content import ROOT
from workloads.habits import Habits, HistoryHabit
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

    __slots__ = ("_dropped", "_history", "_kept", "_messages", "_path", "_system", "_trace")

    def __init__(self, trace: Trace, history: HistoryHabit, kept: int, dropped: int) -> None:
        """``kept`` and ``dropped``: tokens of fields behind each, or only the newest, user message."""
        self._trace = trace
        self._history = history
        self._kept = kept
        self._dropped = dropped
        self._system = ROOT
        self._messages: list[int] = []  # their lengths, tokens
        self._path: list[int] = []  # segments of the leading ones that stand where they were last sent

    def begin_with(self, system: int) -> None:
        """Send everything behind the system message that ends at ``system`` from now on."""
        self._system = system
        self._path.clear()

    def ask(self, user_tokens: int) -> int:
        """Revise the history, add a user message and return the segment at which the prompt ends."""
        content, path, messages = self._trace.content, self._path, self._messages
        unchanged = self._history.revise(messages)
        del path[unchanged:]
        messages.append(user_tokens + self._kept)
        at = path[-1] if path else self._system
        newest = len(messages) - 1
        for place in range(len(path), len(messages)):
            at = content.append(at, messages[place])
            path.append(at)
            # Questions and replies alternate up to the newest question; a summary stands before the first.
            if (newest - place) % 2 and place:
                self._trace.resent_replies.add(at)
        if self._dropped:
            at = content.append(at, self._dropped)
            self._trace.continuations.add(at)
        return at

    def answered(self, reply_tokens: int, reply: int) -> None:
        """Add the reply to the last question, which was generated at the segment ``reply``."""
        self._messages.append(reply_tokens)
        if not self._dropped:  # else it will stand behind a shorter message
            self._path.append(reply)
