"""Segments that hold several messages, and the same trace with a segment for each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from workloads.content import ROOT, ContentTree, Route, Tree

if TYPE_CHECKING:
    from workloads.trace import Trace


@dataclass(frozen=True, slots=True)
class Several:
    """Messages ``first`` to ``stop - 1`` of a conversation that were sent together as new content.

    A client that changes the head of its prompt at every turn sends its whole history as new content each
    time: 2,000 turns are 4 million messages, but only 2,000 segments and one list of lengths.
    """

    lengths: Sequence[int]
    """Of all messages of the conversation, in tokens; shared by many segments."""
    first: int
    stop: int
    newest: int
    """The question at which the prompt ended: up to it, questions and replies alternate."""

    def part(self, first: int, stop: int) -> Several:
        """Some of these messages."""
        return Several(self.lengths, first, stop, self.newest)

    @property
    def tokens(self) -> int:
        """Their length."""
        return sum(self.lengths[self.first : self.stop])

    @property
    def resent_replies(self) -> range:
        """Which of them are replies; the first message of all is none, whatever it is."""
        first = max(self.first, 1)
        return range(first + (self.newest - first + 1) % 2, self.stop, 2)


class MessageTree(Tree):
    """The content of a trace with a segment for every message. O(messages)."""

    def __init__(self, content: ContentTree, several: dict[int, Several]) -> None:
        self.content = ContentTree()
        self.last = [ROOT] * len(content)
        """For each segment of the trace the one at which its last message ends."""
        self.first = [ROOT] * len(content)
        """The one at which its first message ends."""
        self.resent_replies: set[int] = set()
        for segment in range(1, len(content)):
            missing = []
            while segment != ROOT and self.last[segment] == ROOT:
                missing.append(segment)
                segment = content.parent[segment]
            for above in reversed(missing):
                self._add(content, above, several.get(above))

    def _add(self, content: ContentTree, segment: int, messages: Several | None) -> None:
        mine, parent = self.content, content.parent[segment]
        first = self.first[segment] = len(mine)
        if messages is None:
            self.last[segment] = mine.append(self.last[parent], content.end[segment] - content.end[parent])
            return
        lengths = messages.lengths[messages.first : messages.stop]
        mine.parent.extend([self.last[parent], *range(first, first + len(lengths) - 1)])
        mine.end.extend(islice(accumulate(lengths, initial=content.end[parent]), 1, None))
        self.last[segment] = len(mine) - 1
        self.resent_replies.update(first + place - messages.first for place in messages.resent_replies)

    def route(self, segment: int) -> Route:
        """The way to the end of ``segment`` of the trace, message by message."""
        return self.content.route(self.last[segment])


def by_message(trace: Trace, tree: MessageTree) -> Trace:
    """``trace`` with a segment for every message, those of ``tree``."""
    last, marks = tree.last, trace.marks
    if marks is not None:
        marks = [[(last[segment], ttl_s) for segment, ttl_s in mine] for mine in marks]
    return replace(
        trace,
        content=tree.content,
        several={},
        prompt=array("q", [last[segment] for segment in trace.prompt]),
        reply=array("q", [last[segment] for segment in trace.reply]),
        marks=marks,
        continuations={tree.first[segment] for segment in trace.continuations},
        system_messages={last[segment] for segment in trace.system_messages},
        resent_replies=tree.resent_replies | {last[segment] for segment in trace.resent_replies},
    )
