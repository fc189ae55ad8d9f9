"""One conversation, two sessions of three turns, and the shapes that APIs give to it.

Texts have four characters a token, so that logged counts and estimates agree and every format can be held
against every other one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SYSTEM = "You answer questions about trains.  " * 20
OPENING = "Look at this timetable first: " + "07:10 Basel - 08:04 Bern; " * 7
ZERO_S = 1_790_000_000.0


def padded(text: str) -> str:
    """``text`` with a whole number of tokens."""
    text = text.strip()
    return text + "." * (-len(text) % 4)


def tokens(*texts: str) -> int:
    """Their length, four characters a token."""
    return sum(len(text.strip()) for text in texts) // 4


@dataclass(frozen=True)
class Turn:
    """One call: what was said before, what is asked, the reply and the times in s."""

    session: str
    number: int
    history: tuple[tuple[str, str], ...]
    question: str
    reply: str
    sent_s: float
    ended_s: float

    @property
    def messages(self) -> list[tuple[str, str]]:
        """(role, text) of the whole prompt."""
        return [("system", padded(SYSTEM.strip())), *self.history, ("user", self.question)]

    @property
    def input_tokens(self) -> int:
        """Of the whole prompt."""
        return tokens(*(text for _, text in self.messages))

    @property
    def output_tokens(self) -> int:
        """Of the reply."""
        return tokens(self.reply)


def turns() -> list[Turn]:
    """The six calls by time; the first messages of the two sessions begin alike."""
    found = []
    for s, session in enumerate(("alpha", "beta")):
        history: tuple[tuple[str, str], ...] = ()
        for t in range(3):
            start = OPENING if t == 0 else ""
            question = padded(f"{start}{session} asks: train {'IC ' * (5 + t + s)}to gate {t}?")
            reply = padded(f"{session}: platform {t + 3}. " + "Mind the gap. " * (2 + t))
            sent_s = ZERO_S + 5 * s + 30 * t
            found.append(Turn(session, t + 1, history, question, reply, sent_s, sent_s + 4))
            history = (*history, ("user", question), ("assistant", reply))
    return sorted(found, key=lambda turn: turn.sent_s)


def iso(at_s: float) -> str:
    """As most logs write times."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def chat(messages: list[tuple[str, str]]) -> list[Row]:
    """OpenAI's form of messages."""
    return [{"role": role, "content": text} for role, text in messages]


def openai_usage(turn: Turn) -> Row:
    """Inclusive counts."""
    total = turn.input_tokens + turn.output_tokens
    return {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "total_tokens": total,
    }


def anthropic_usage(turn: Turn) -> Row:
    """Exclusive counts: three parts of one prompt."""
    read = turn.input_tokens // 2
    return {
        "input_tokens": 5,
        "cache_creation_input_tokens": turn.input_tokens - read - 5,
        "cache_read_input_tokens": read,
        "output_tokens": turn.output_tokens,
    }


def completion(turn: Turn) -> Row:
    """OpenAI's response."""
    message = {"role": "assistant", "content": turn.reply}
    name = f"chatcmpl-{turn.session}-{turn.number}"
    return {"id": name, "choices": [{"index": 0, "message": message}], "usage": openai_usage(turn)}


def anthropic_request(turn: Turn) -> Row:
    """Anthropic's request, with blocks."""
    blocks = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in turn.messages[1:]
    ]
    return {"model": "m", "max_tokens": 99, "system": turn.messages[0][1], "messages": blocks}


def anthropic_response(turn: Turn) -> Row:
    """Anthropic's response."""
    content = [{"type": "text", "text": turn.reply}]
    return {"id": "msg", "role": "assistant", "content": content, "usage": anthropic_usage(turn)}


def lines(path: Path, rows: Iterator[Row] | list[Row]) -> Path:
    """JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
