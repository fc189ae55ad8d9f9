"""Text as tokens and back: by a model's tokenizer where one is given, else four characters a token."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from workloads.errors import InputError

MARKERS = ("tools", "system", "developer", "user", "assistant", "tool", "call", "file")
"""Tokens that no text contains: they begin a message, a tool call, a file."""
CHARACTERS = 4
REMEMBERED_CHARACTERS = 8 * 2**20
"""Texts of so many characters in all are kept as tokens: a history that is sent again costs a look-up.
That takes some 50 MB."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as tokens, and what each of them says; the pieces make up the text."""

    ids: tuple[int, ...]
    pieces: tuple[str, ...]


class Tokens(Protocol):
    """Makes tokens of texts. Two texts that begin alike have the same first tokens."""

    note: str
    """What a user must know of how tokens are counted; empty where they are those of the model."""

    def encode(self, text: str) -> Encoded: ...

    def decode(self, ids: list[int]) -> str:
        """Raises KeyError with an id that stands for nothing."""

    def marker(self, name: str) -> int:
        """The token of ``MARKERS`` with that name."""


class FourCharacters:
    """Every four characters are a token; each new group of four gets the next number.

    >>> tokens = FourCharacters()
    >>> tokens.encode("the cat sat").ids, tokens.encode("the cat ran").ids
    ((8, 9, 10), (8, 9, 11))
    """

    note = "tokens are an estimate: four characters each, one more for each message"

    def __init__(self) -> None:
        self._texts: list[str] = [f"<|{name}|>" for name in MARKERS]
        self._ids: dict[str, int] = {}

    def encode(self, text: str) -> Encoded:
        ids = tuple(self._id(text[i : i + CHARACTERS]) for i in range(0, len(text), CHARACTERS))
        return Encoded(ids, tuple(map(self._texts.__getitem__, ids)))  # a token's text is kept once

    def _id(self, piece: str) -> int:
        found = self._ids.get(piece)
        if found is None:
            found = self._ids[piece] = len(self._texts)
            self._texts.append(piece)
        return found

    def decode(self, ids: list[int]) -> str:
        for number in ids:
            if not 0 <= number < len(self._texts):
                raise KeyError(number)
        return "".join(self._texts[number] for number in ids)

    def marker(self, name: str) -> int:
        return MARKERS.index(name)


class ModelTokens:
    """The tokens of a Hugging Face ``tokenizer.json``; messages are marked by numbers above its own."""

    note = ""

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise InputError(
                f"--tokenizer {path}: the package tokenizers is not installed; allowed: "
                "pip install 'prefixsim[tokenizer]', or no tokenizer (four characters are then a token)"
            ) from None
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare Exception
            raise InputError(f"{path}: no tokenizer ({error}); allowed: a tokenizer.json") from None
        self._size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> Encoded:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        found = self._tokenizer.encode(text, add_special_tokens=False)
        bounds = [0, *(start for start, _ in found.offsets[1:]), len(text)] if found.ids else []
        pieces = tuple(text[start:end] for start, end in pairwise(bounds))
        return Encoded(tuple(found.ids), pieces)

    def decode(self, ids: list[int]) -> str:
        for number in ids:
            if not 0 <= number < self._size + len(MARKERS):
                raise KeyError(number)
        text: str = self._tokenizer.decode([number for number in ids if number < self._size])
        return text

    def marker(self, name: str) -> int:
        return self._size + MARKERS.index(name)


class Remembering:
    """The same tokens, with the texts of late kept: of a chat's history only what is new is computed."""

    def __init__(self, tokens: Tokens, most_characters: int = REMEMBERED_CHARACTERS) -> None:
        self.note, self.decode, self.marker = tokens.note, tokens.decode, tokens.marker
        self._tokens, self._most = tokens, most_characters
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._characters = 0

    def encode(self, text: str) -> Encoded:
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
            return found
        found = self._kept[text] = self._tokens.encode(text)
        self._characters += len(text)
        while self._characters > self._most:
            old, _ = self._kept.popitem(last=False)
            self._characters -= len(old)
        return found


def tokens_of(path: Path | None) -> Tokens:
    """The tokenizer in that file, or the estimate."""
    return Remembering(FourCharacters() if path is None else ModelTokens(path))
