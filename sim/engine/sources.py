"""Where KV can come from: tiers below the GPU's memory, or the replica that prefilled the prompt."""

from __future__ import annotations

from sim.caches.lower import LowerTiers
from sim.engine.link import Link
from sim.engine.loads import NOTHING, Found
from sim.engine.request import Request


class TierSource:
    """Host memory and disk below one replica, each behind a link of its own."""

    def __init__(
        self,
        lower: LowerTiers,
        links: dict[str, Link],
        block_size: int,
        kv_bytes_per_token: int,
        hit_tokens: dict[str, int],
    ) -> None:
        self._lower = lower
        self._links = links
        self._size = block_size
        self._kv_bytes = kv_bytes_per_token
        self._hit_tokens = hit_tokens

    def find(self, request: Request, hit_blocks: int) -> Found:
        """Whole blocks, up to the block of the last known token, which is computed in any case."""
        self._lower.write_demoted()
        cap = (request.known_tokens - 1) // self._size
        blocks = self._lower.below(self._lower.path(request.index), hit_blocks, cap)
        return Found(sum(blocks.values()) * self._size, blocks)

    def fetch(self, request: Request, found: Found) -> float:
        """Tiers load beside each other, the transfers of one tier one after the other."""
        there_s = 0.0
        for name, blocks in found.blocks.items():
            if not blocks:
                continue
            there_s = max(there_s, self._links[name].transfer(blocks * self._size * self._kv_bytes))
            if not request.preemptions:
                request.row.tier = name
                self._hit_tokens[name] = self._hit_tokens.get(name, 0) + blocks * self._size
        return there_s

    def left(self, request: Request) -> None:
        """Its blocks go down as the write policy says."""
        self._lower.stored(self._lower.path(request.index), request.computed // self._size)


class RemotePrefill:
    """Another replica has prefilled the prompt; all that is not cached here comes over the link."""

    def __init__(self, link: Link, block_size: int, kv_bytes_per_token: int) -> None:
        self._link = link
        self._size = block_size
        self._kv_bytes = kv_bytes_per_token

    def find(self, request: Request, hit_blocks: int) -> Found:
        """The rest of the prompt, once: a preempted request computes what it lost itself."""
        if request.preemptions:
            return NOTHING
        return Found(request.prompt_tokens - hit_blocks * self._size, {})

    def fetch(self, request: Request, found: Found) -> float:
        """One transfer per request."""
        return self._link.transfer(found.tokens * self._kv_bytes)

    def left(self, request: Request) -> None:
        """Nothing: the prefilling replica has given its blocks back already."""
