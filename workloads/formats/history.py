"""Conversations as they are resent: chains of messages of which only salted hashes and lengths are kept.

A text becomes a node here and is forgotten: the node knows the message before it, its role, and about how
many tokens it has. Equal messages behind equal messages are one node, so a prompt is the node of its last
message, and what two prompts share is what their chains share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b

PIECE_CHARACTERS = 64
"""Where a message may be the first difference of two conversations, it is cut into pieces of so many."""
PIECE_SHARE = 32
"""Behind the first 2,048 characters a piece is a 32nd of what stands before it: few pieces, and at most
that share of what two messages have in common is missed."""
TOKENS_PER_CHARACTER = 0.25
"""English and code have three to five characters a token; a tokenizer or logged usage says it better."""
START = 0
"""The node before the first message."""
REPLYING = frozenset({"assistant"})


class Histories:
    """All conversations of a trace. ``count`` gives the tokens of a text, exactly or about."""

    def __init__(self, count: Callable[[str], float]) -> None:
        self.before = [START]
        """For each node the one of the message before."""
        self.role = [""]
        self.tokens = [0.0]
        """How many tokens the message has, as ``count`` says."""
        self.depth = [0]
        """How many messages end at this node."""
        self.pieces: dict[int, list[tuple[bytes, int]]] = {}
        """Of messages that no reply stands before: their pieces as (hash, characters)."""
        self.sizes: dict[int, int] = {}
        """Tokens of messages that are known to have so many, whatever ``count`` says."""
        self._count = count
        self._salt = os.urandom(16)
        self._nodes: dict[tuple[int, bytes], int] = {}
        self._digests = [b""]
        self._opening = [True]

    def add(self, before: int, role: str, text: str, tokens: float | None = None) -> int:
        """The node of the message ``text`` behind ``before``; ``tokens`` where the text does not tell."""
        digest = self._hash(role, text)
        node = self._nodes.get((before, digest))
        if node is not None:
            return node
        node = self._new(before, role, digest)
        self.tokens[node] = self._count(text) if tokens is None else tokens
        if self._opening[before] and len(text) > PIECE_CHARACTERS:
            self.pieces[node] = self._cut(role, text)
        return node

    def same_text(self, node: int) -> bytes:
        """What is equal for messages of equal role and text, wherever they stand."""
        return self._digests[node]

    def head(self, name: str) -> int:
        """The node of what stands before every message and is in no log: one for each ``name``."""
        digest = self._hash("head", name)
        node = self._nodes.get((START, digest))
        return self._new(START, "head", digest) if node is None else node

    def behind(self, head: int, node: int) -> int:
        """The node of the same messages as those up to ``node``, behind another head. O(messages)."""
        path = []
        while node != START:
            if self.role[node] != "head":
                path.append(node)
            node = self.before[node]
        at = head
        for old in reversed(path):
            new = self._nodes.get((at, self._digests[old]))
            if new is None:
                new = self._new(at, self.role[old], self._digests[old])
                self.tokens[new] = self.tokens[old]
                if old in self.pieces:
                    self.pieces[new] = self.pieces[old]
            at = new
        return at

    def child_towards(self, node: int, above: int) -> int | None:
        """The message behind ``above`` on the way to ``node``; None if ``node`` is not behind it."""
        for _ in range(self.depth[node] - self.depth[above] - 1):
            node = self.before[node]
        return node if node != START and node != above and self.before[node] == above else None

    def _new(self, before: int, role: str, digest: bytes) -> int:
        node = self._nodes[before, digest] = len(self.before)
        self.before.append(before)
        self.role.append(role)
        self._digests.append(digest)
        self.tokens.append(0.0)
        self.depth.append(self.depth[before] + 1)
        self._opening.append(self._opening[before] and role not in REPLYING)
        return node

    def _hash(self, role: str, text: str) -> bytes:
        digest = blake2b(role.encode(errors="surrogatepass"), digest_size=12, key=self._salt)
        digest.update(b"\0")
        digest.update(text.encode(errors="surrogatepass"))
        return digest.digest()

    def _cut(self, role: str, text: str) -> list[tuple[bytes, int]]:
        pieces, at = [], 0
        while at < len(text):
            piece = text[at : at + max(PIECE_CHARACTERS, at // PIECE_SHARE)]
            pieces.append((self._hash(role if at == 0 else "", piece), len(piece)))
            at += len(piece)
        return pieces
