"""Content-addressed caches of messages: a hit is a whole number of messages.

The source's two designs: a store keyed by the hash of the whole message list, and one that finds the
longest cached prefix of messages.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import PositiveInt

from sim.caches.base import Served
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

UNLIMITED = 1 << 60


class MessageStore:
    """Message KV by segment, least recently used first, at most ``capacity_tokens`` tokens.

    With ``ttl_s`` an entry is found only if it was last used at most that long ago.
    """

    def __init__(self, capacity_tokens: int | None, ttl_s: float | None = None) -> None:
        self.tokens = 0
        self.evicted_tokens = 0
        self._capacity = UNLIMITED if capacity_tokens is None else capacity_tokens
        self._ttl_s = ttl_s
        self._entries: OrderedDict[int, tuple[int, float]] = OrderedDict()  # key -> tokens, last use

    def find(self, key: int, at_s: float) -> bool:
        """Whether ``key`` is there and alive at ``at_s``; an expired entry is dropped. O(1)."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        if self._ttl_s is not None and at_s - entry[1] > self._ttl_s:
            self.drop(key)
            return False
        return True

    def use(self, key: int, tokens: int, at_s: float) -> None:
        """Store ``key`` or refresh it as the most recently used. Amortised O(1).

        What is larger than the whole store is not stored.
        """
        if key in self._entries:
            self._entries[key] = (tokens, at_s)
            self._entries.move_to_end(key)
            return
        if tokens > self._capacity:
            return
        self._entries[key] = (tokens, at_s)
        self.tokens += tokens

    def drop(self, key: int) -> None:
        """Remove ``key`` if it is there, without counting an eviction."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.tokens -= entry[0]

    def evict(self) -> None:
        """Evict the least recently used entries until the capacity holds."""
        while self.tokens > self._capacity:
            _, (tokens, _) = self._entries.popitem(last=False)
            self.tokens -= tokens
            self.evicted_tokens += tokens

    def check(self) -> None:
        """Assert that the count is right and the capacity holds."""
        assert sum(tokens for tokens, _ in self._entries.values()) == self.tokens <= self._capacity


class MessageCache:
    """Whole-list or longest-prefix lookup of message lists.

    ``prefix``: the KV of each message is an entry of its own (keyed by the list up to it, so it is
    shared by all lists that begin so); a request finds its leading cached messages, then uses all of
    them and its reply, the last one first, so that a list loses its tail first. ``whole``: an entry is
    a whole list with the KV of all its tokens, found only by the same list again; nothing is shared
    between entries. A request that is found entirely computes nothing.
    """

    evicted_blocks = None

    def __init__(self, trace: Trace, match: str, capacity_tokens: int | None, cache_reply: bool) -> None:
        self._trace = trace
        self._whole = match == "whole"
        self._cache_reply = cache_reply
        self._store = MessageStore(capacity_tokens)

    @property
    def evicted_tokens(self) -> int:
        return self._store.evicted_tokens

    def serve(self, request: int, at_s: float) -> Served:
        """Find the list or its longest cached prefix, then store what the request adds. O(messages)."""
        content, store = self._trace.content, self._store
        prompt = self._trace.prompt[request]
        last = self._trace.reply[request] if self._cache_reply else prompt
        hit = 0
        if self._whole:
            if store.find(prompt, at_s):
                hit = content.end[prompt]
            for entry in dict.fromkeys((prompt, last)):
                store.use(entry, content.end[entry], at_s)
        else:
            for message in self._trace.message_path(prompt):
                if not store.find(message, at_s):
                    break
                hit = content.end[message]
            for message, tokens in reversed(messages_of(self._trace, last)):
                store.use(message, tokens, at_s)
        store.evict()
        return Served(hit)

    def check(self) -> None:
        """Assert the store's invariants."""
        self._store.check()


class MessageConfig(Schema):
    """``{kind: message, match: whole | prefix, capacity_tokens, cache_reply}``."""

    kind: Literal["message"]
    match: Literal["whole", "prefix"] = "prefix"
    """`whole`: a list of messages is found as a whole or not at all; `prefix`: the longest known beginning
    of it is."""
    capacity_tokens: PositiveInt | None = None
    """Capacity in tokens; left out: without limit."""
    cache_reply: bool = True
    """Whether replies are cached as well as prompts."""

    def replay(self, trace: Trace, key: str) -> MessageCache:
        """A fresh cache; the trace must know where its messages end."""
        require_messages(trace, key, self.kind)
        return MessageCache(trace.by_message, self.match, self.capacity_tokens, self.cache_reply)


def messages_of(trace: Trace, segment: int) -> list[tuple[int, int]]:
    """The messages down to ``segment`` as (segment at which it ends, tokens), the first one first."""
    out, start = [], 0
    for message in trace.message_path(segment):
        end = trace.content.end[message]
        out.append((message, end - start))
        start = end
    return out


def require_messages(trace: Trace, key: str, kind: str) -> None:
    """Raise InputError unless ``trace`` knows where its messages end."""
    if not trace.messages:
        raise InputError(
            f"{key}.kind = {kind!r} counts whole messages and {trace.origin} does not say where they end; "
            "allowed: block, radix or ideal (or a workload of kind chat or script)"
        )
