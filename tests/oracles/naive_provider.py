"""A provider's cache written down from its rules: lists of prefixes, looked through one by one.

Nothing is shared with the code under test: a prompt is a tuple of (message, tokens), an entry a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

Prompt = tuple[tuple[Hashable, int], ...]


@dataclass
class _Entry:
    prefix: Prompt
    visible_s: float
    expires_s: float


def _tokens(prefix: Prompt) -> int:
    return sum(tokens for _, tokens in prefix)


def replied_by(sent: list[tuple[Prompt, float, int]]) -> list[float]:
    """When each of (prompt, time, session), in order of time, had its reply at the latest.

    The first later prompt of its session that begins with the whole of it and is longer came after that.
    """
    by = []
    for i, (prompt, _, session) in enumerate(sent):
        later = (
            at_s
            for other, at_s, whose in sent[i + 1 :]
            if whose == session and len(other) > len(prompt) and other[: len(prompt)] == prompt
        )
        by.append(next(later, float("inf")))
    return by


class NaiveBreakpoints:
    """Anthropic's rules: entries end at marks, a lookup walks back from them, reads restart the clock.

    OpenAI's newer ones: only messages that ``counts`` takes use up the lookback, and ``opening``: the end
    of the first message is tried as well.
    """

    def __init__(
        self,
        ttl_s: float,
        minimum: int,
        lookback: int,
        counts: Callable[[Hashable], bool] = lambda name: True,
        opening: bool = False,
    ) -> None:
        self.ttl_s, self.minimum, self.lookback = ttl_s, minimum, lookback
        self.counts, self.opening = counts, opening
        self.entries: list[_Entry] = []

    def serve(self, prompt: Prompt, marks: list[int], at_s: float, visible_s: float) -> tuple[int, int]:
        """(tokens read, tokens written) of a prompt with marks after so many of its messages.

        What it writes can be read from ``visible_s`` on.
        """
        self.entries = [entry for entry in self.entries if entry.expires_s > at_s]
        read: Prompt = ()
        for mark in sorted(marks, reverse=True):
            length, left = mark, self.lookback
            while length and left and not read:
                if self._found(prompt[:length], at_s):
                    read = prompt[:length]
                left -= self.counts(prompt[length - 1][0])
                length -= 1
        if not read and self.opening and self._found(prompt[:1], at_s):
            read = prompt[:1]
        for entry in self.entries:
            mine = entry.prefix == read or (len(entry.prefix) in marks and len(entry.prefix) <= len(read))
            if mine and entry.prefix == prompt[: len(entry.prefix)] and entry.visible_s <= at_s:
                entry.expires_s = at_s + self.ttl_s
        done = _tokens(read)
        for mark in sorted(marks):
            prefix = prompt[:mark]
            if len(prefix) > len(read) and _tokens(prefix) >= self.minimum:
                self.entries.append(_Entry(prefix, visible_s, at_s + self.ttl_s))
                done = _tokens(prefix)
        return _tokens(read), done - _tokens(read)

    def _found(self, prefix: Prompt, at_s: float) -> bool:
        return any(entry.prefix == prefix and entry.visible_s <= at_s for entry in self.entries)


class NaiveGrid:
    """OpenAI's older rules: every token of every prompt is stored; the longest run counts in steps."""

    def __init__(self, ttl_s: float, minimum: int, step: int) -> None:
        self.ttl_s, self.minimum, self.step = ttl_s, minimum, step
        self.seen: list[tuple[tuple[tuple[Hashable, int], ...], float, float]] = []

    def serve(self, prompt: Prompt, at_s: float, visible_s: float) -> int:
        """Tokens read: a token is there if a prompt with the same tokens up to it came in time.

        What it writes can be read from ``visible_s`` on.
        """
        tokens = tuple((name, i) for name, length in prompt for i in range(length))
        found = 0
        for earlier, came_s, readable_s in self.seen:
            if readable_s <= at_s < came_s + self.ttl_s:
                common = 0
                for mine, theirs in zip(tokens, earlier, strict=False):
                    if mine != theirs:
                        break
                    common += 1
                found = max(found, common)
        if len(tokens) >= self.minimum:
            self.seen.append((tokens, at_s, visible_s))
        found = found // self.step * self.step
        return found if found >= self.minimum else 0
