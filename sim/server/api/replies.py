"""What the server says: filler of the asked length, an echo, a recorded reply, a call of a tool, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from sim.server.api.call import Answer, Call, Wanted
from sim.server.api.template import Part, as_json, call, part_ids, text
from sim.server.api.tokens import Encoded, Tokens
from sim.server.options import Replies
from workloads.errors import InputError
from workloads.formats import jsonl
from workloads.formats.files import find_file
from workloads.lengths import whole
from workloads.seeds import stream
from workloads.shown import shown

_TEXT = (
    "all and any are ask bad bag bay bed big bit box boy bus buy can cap car cat cup cut day dig dog "
    "dry due ear eat egg end eye far fed few fit fly fog for fun gap get got gum gun guy hat hen her "
    "him his hit hot how ice ink its jam job joy key kid kit lab law lay leg let lid lie lip log lot "
    "low man map mat may men mix mud net new nor not now nut oak odd off oil old one our out own pan "
    "pay pen pet pie pin pit pot put ran rat raw red rib rid row rug run sad saw say sea see set she "
    "shy sit six sky son sun tap tax tea ten the tie tin tip toe top toy try two use van war was way "
    "wet who why win yes yet you zoo"
)
WORDS = tuple(_TEXT.split())
"""Of three letters: with the space behind it, four characters."""
MOST_TOKENS = 1_000_000
"""Of the replies to one request that asks for a length, and of one whose length is drawn: a model writes
fewer, and all are made up before the first one leaves."""


class Speaker:
    """Writes the replies. The same seed and the same requests in the same order give the same texts."""

    def __init__(self, replies: Replies, tokens: Tokens, seed: int, folder: Path) -> None:
        self._tokens, self._folder = tokens, folder
        self._rng = stream(seed, "server: texts of replies")
        self._lengths = stream(seed, "server: lengths of replies")
        self.change(replies)

    def change(self, replies: Replies) -> None:
        """Speak otherwise from now on; InputError if the recorded replies cannot be read."""
        self._recorded = _recorded(replies.path, self._folder) if replies.kind == "recorded" else {}
        self.replies = replies

    def answer(self, call: Call, prompt: int) -> Answer:
        """The reply to one prompt of ``call``."""
        wanted = call.wanted
        if wanted.tools and (wanted.must_call or call.calls_since_user < self.replies.tool_calls):
            return self._tool_call(wanted)
        if wanted.as_json:
            said = self._tokens.encode(as_json(_example(wanted.schema)))
            return self._of_text(said, wanted)
        asked = self._length(wanted)
        if not wanted.exact:
            spoken = self._spoken(call.said[prompt])
            if spoken is not None:
                return self._of_text(spoken, wanted)
        finish = "length" if wanted.most_tokens is not None and asked >= wanted.most_tokens else "stop"
        return self._answer(self.filler(asked), finish)

    def filler(self, length: int) -> Encoded:
        """A meaningless text of exactly so many tokens, if the tokenizer knows words of one token."""
        words: list[str] = []
        for _ in range(8):
            missing = length - (len(self._tokens.encode(_sentence(words)).ids))
            if missing == 0:
                break
            if missing > 0:
                words += [WORDS[i] for i in self._rng.integers(len(WORDS), size=missing)]
            else:
                del words[missing:]
        return self._tokens.encode(_sentence(words))

    def _length(self, wanted: Wanted) -> int:
        most = wanted.most_tokens
        if wanted.exact and most is not None:
            return most
        sample = np.minimum(self.replies.tokens.sample(self._lengths, 1), MOST_TOKENS)
        drawn = max(whole(sample, "replies.tokens")[0], wanted.least_tokens)
        return drawn if most is None else min(drawn, most)

    def _spoken(self, said: str) -> Encoded | None:
        found = said if self.replies.kind == "echo" else self._recorded.get(said)
        return self._tokens.encode(found) if found else None

    def _of_text(self, said: Encoded, wanted: Wanted) -> Answer:
        most = wanted.most_tokens
        if most is not None and len(said.ids) > most:
            return self._answer(Encoded(said.ids[:most], said.pieces[:most]), "length")
        return self._answer(said, "stop")

    def _answer(self, said: Encoded, finish: str) -> Answer:
        part = text("".join(said.pieces))
        return Answer((part,), said.ids, said.pieces, finish)

    def _tool_call(self, wanted: Wanted) -> Answer:
        name = wanted.tools[int(self._rng.integers(len(wanted.tools)))]
        schema = wanted.parameters.get(name)
        part = call(name, _example(schema, self._word()), f"call_{uuid4().hex[:24]}")
        return tool_answer([part], self._tokens)

    def _word(self) -> str:
        return WORDS[int(self._rng.integers(len(WORDS)))]


def tool_answer(parts: Sequence[Part], tokens: Tokens) -> Answer:
    """A reply that calls tools: its name comes with the first tokens, its arguments token by token."""
    ids: list[int] = []
    pieces: list[str] = []
    ends: list[int] = []
    for part in parts:
        silent = 1 + len(tokens.encode(part.name).ids)
        ids += part_ids(part, tokens)
        pieces += [""] * silent + list(tokens.encode(part.text).pieces)
        ends.append(len(pieces))
    return Answer(tuple(parts), tuple(ids), tuple(pieces), "tool_calls", tuple(ends[:-1]))


def _sentence(words: Sequence[str]) -> str:
    """Words of three letters and a space are four characters; the end is no space, which clients strip."""
    return " ".join(words) + "." if words else ""


def _example(schema: Any, word: str = "the", depth: int = 0) -> Any:
    """A value that a JSON schema allows, as far as types, enums and required keys say."""
    if not isinstance(schema, dict) or depth > 8:
        return {} if depth == 0 else word
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _example(schema[key][0], word, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    if kind == "object":
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        names = required if isinstance(required, list) else list(properties)
        return {
            name: _example(properties.get(name), word, depth + 1) for name in names if isinstance(name, str)
        }
    if kind == "array":
        least = schema.get("minItems")
        count = min(least, 16) if isinstance(least, int) and least > 0 else 1
        return [_example(schema.get("items"), word, depth + 1)] * count
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(str(kind), word)


def _recorded(path: str | None, folder: Path) -> dict[str, str]:
    """Replies by what the user said."""
    if path is None:
        raise InputError("server.replies: kind = recorded without a path; allowed: path of a JSONL file")
    file = find_file(Path(path), folder)
    out = {}
    for where, _, row in jsonl.items(file):
        if isinstance(row, InputError):
            raise row
        prompt, reply = row.get("prompt"), row.get("reply")
        if not isinstance(prompt, str) or not isinstance(reply, str) or not reply:
            raise InputError(f"{where}: {shown(row)}; allowed: the texts prompt and reply")
        out[prompt] = reply
    return out
