"""Three layers, each with its own lifetime and capacity: system prompts, conversations, recent requests."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from sim.caches.base import Served
from sim.caches.message import MessageStore, messages_of, require_messages
from workloads.schema import Schema
from workloads.trace import Trace

LAYERS = ("system", "conversation", "recent")


class LayerLimits(Schema):
    """Lifetime in s since the last use, and capacity in tokens; unlimited where not given."""

    ttl_s: PositiveFloat | None = None
    """Lifetime since the last use, s; left out: without end."""
    capacity_tokens: PositiveInt | None = None
    """Capacity in tokens; left out: without limit."""

    def store(self) -> MessageStore:
        return MessageStore(self.capacity_tokens, self.ttl_s)


class LayeredCache:
    """The source's layered design: each message's KV lives in one of three stores.

    A lookup walks the prompt message by message and asks the stores in order; it stops at the first
    message that none of them has. Then the request's system message goes to (or stays in) the first
    store, the history to the second, the newest message and the reply to the third; what is found in
    another store moves. So a new turn is held shortly, and lives on once the conversation does.
    """

    evicted_blocks = None

    def __init__(self, trace: Trace, layers: dict[str, LayerLimits]) -> None:
        self._trace = trace
        self._stores = {name: layers[name].store() for name in LAYERS}

    @property
    def evicted_tokens(self) -> int:
        return sum(store.evicted_tokens for store in self._stores.values())

    def serve(self, request: int, at_s: float) -> Served:
        """Find the leading messages that some layer has; then place every message. O(messages)."""
        content, stores = self._trace.content, self._stores
        prompt = self._trace.prompt[request]
        found = dict.fromkeys(LAYERS, 0)
        hit = 0
        for message in self._trace.message_path(prompt):
            layer = next((name for name in LAYERS if stores[name].find(message, at_s)), None)
            if layer is None:
                break
            found[layer] += content.end[message] - hit
            hit = content.end[message]
        for message, tokens in reversed(messages_of(self._trace, self._trace.reply[request])):
            home = self._home(message, content.end[message] >= content.end[prompt])
            for name in LAYERS:
                if name != home:
                    stores[name].drop(message)
            stores[home].use(message, tokens, at_s)
        for store in stores.values():
            store.evict()
        return Served(hit, tiers=tuple((name, tokens) for name, tokens in found.items() if tokens))

    def _home(self, message: int, newest: bool) -> str:
        if message in self._trace.system_messages:
            return "system"
        return "recent" if newest else "conversation"

    def check(self) -> None:
        """Assert the invariants of all stores."""
        for store in self._stores.values():
            store.check()


class LayeredConfig(Schema):
    """``{kind: layered, system: {ttl_s, capacity_tokens}, conversation: {...}, recent: {...}}``."""

    kind: Literal["layered"]
    system: LayerLimits = LayerLimits(ttl_s=86_400)
    """Limits of the layer that keeps system messages."""
    conversation: LayerLimits = LayerLimits(ttl_s=3_600)
    """Limits of the layer that keeps histories."""
    recent: LayerLimits = LayerLimits(ttl_s=300)
    """Limits of the layer that keeps the newest messages and replies."""

    def replay(self, trace: Trace, key: str) -> LayeredCache:
        """A fresh cache; the trace must know where its messages end."""
        require_messages(trace, key, self.kind)
        layers = {"system": self.system, "conversation": self.conversation, "recent": self.recent}
        return LayeredCache(trace.by_message, layers)
