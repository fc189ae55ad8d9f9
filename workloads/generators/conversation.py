"""A client's side of a conversation: its messages, and where in the content tree they stand."""

from __future__ import annotations

from workloads.content import ROOT
from workloads.habits import Habits, HistoryHabit
from workloads.messages import Several
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


def send(trace: Trace, at: int, messages: Several) -> int:
    """Put ``messages`` behind the segment ``at`` as one segment of new content, and return it."""
    segment = trace.content.append(at, messages.tokens)
    _hold(trace, segment, messages)
    return segment


def _hold(trace: Trace, segment: int, messages: Several) -> None:
    """``segment`` holds ``messages``."""
    if messages.stop - messages.first > 1:
        trace.several[segment] = messages
        return
    trace.several.pop(segment, None)
    if messages.resent_replies:
        trace.resent_replies.add(segment)


class Conversation:
    """The history of one session as its client will send it, habits applied.

    A message stays at its segment as long as everything before it stays the same; what comes after a
    change is the same text behind other content, so it is new content. What is new in one request is one
    segment, whatever messages it has (``workloads/messages.py``).
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
        # The leading messages that stand where they were last sent: (segment, messages up to its end).
        self._path: list[tuple[int, int]] = []

    def begin_with(self, system: int) -> None:
        """Send everything behind the system message that ends at ``system`` from now on."""
        self._system = system
        self._path.clear()

    def ask(self, user_tokens: int, *, rewritten: bool = False) -> int:
        """Revise the history, add a user message and return the segment at which the prompt ends.

        ``rewritten``: the message takes the place of the last one, whose reply is dropped.
        """
        if rewritten:
            self._take_back(2)
        self._messages, unchanged = self._history.revise(self._messages)
        self._messages.append(user_tokens + self._kept)
        self._keep(unchanged)
        return self._send()

    def ask_again(self) -> int:
        """Take the last reply back and return the segment at which the same prompt ends once more."""
        self._take_back(1)
        return self._send()

    def compact(self, summary_tokens: int) -> None:
        """Put one new message in the place of the whole history."""
        self._messages = [summary_tokens]
        self._path.clear()

    def answered(self, reply_tokens: int, reply: int | None) -> None:
        """Add the reply to the last question, which was generated at the segment ``reply``.

        None: behind content that the history drops, so that it will stand behind something else.
        """
        self._messages.append(reply_tokens)
        if reply is not None and not self._dropped:  # else it will stand behind a shorter message
            self._path.append((reply, len(self._messages)))

    def _send(self) -> int:
        """Put all messages that are not there yet into one segment; dropped fields stand behind it."""
        at, known = self._path[-1] if self._path else (self._system, 0)
        messages = len(self._messages)
        if known < messages:
            at = send(self._trace, at, Several(self._messages, known, messages, messages - 1))
            self._path.append((at, messages))
        if self._dropped:
            at = self._trace.content.append(at, self._dropped)
            self._trace.continuations.add(at)
        return at

    def _take_back(self, messages: int) -> None:
        """Forget the last messages. Segments keep the list of lengths that they were made with."""
        self._messages = self._messages[:-messages]
        self._keep(len(self._messages))

    def _keep(self, messages: int) -> None:
        """Only so many leading messages stand where they were; the last of them ends a segment."""
        path, trace = self._path, self._trace
        while path and path[-1][1] > messages:
            segment, _ = path.pop()
            if messages > (path[-1][1] if path else 0):
                held = trace.several[segment]
                upper = held.part(held.first, messages)
                above = trace.content.cut(segment, upper.tokens)
                _hold(trace, above, upper)
                _hold(trace, segment, held.part(messages, held.stop))
                path.append((above, messages))
