"""Values and texts from outside, as a message shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
"""Characters that move a cursor, end a line or are half of one: all but the tab and the end of line."""


def shown(value: object, most: int = 60) -> str:
    """``value`` as a message shows it: on one line, of printable characters, a long one cut short."""
    try:
        text = repr(value[: most + 1] if isinstance(value, str | bytes | list | tuple) else value)
    except RecursionError:
        return f"{type(value).__name__} of many levels"
    except ValueError:
        return f"{type(value).__name__} of thousands of digits"
    return text if len(text) <= most else f"{text[:most]}..."


def why(error: Exception) -> str:
    """Why a text could not be read, in words of its writer: Python's own are about recursion and codecs."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return "not UTF-8 text"
    said = " ".join(str(error).split())
    return "an integer of thousands of digits" if said.startswith("Exceeds the limit") else said


def brief(text: str, most: int = 300) -> str:
    """``text`` whose longest words are cut short: values from outside that nobody would read."""
    return re.sub(rf"(\S{{60}})\S{{{most - 60},}}?([:;,'\")]*)(?!\S)", r"\1...\2", text)


def nearest(value: object, allowed: Sequence[str]) -> str:
    """Which of ``allowed`` was perhaps meant, and all of them.

    >>> nearest("chats", ["agent", "chat", "rag"])
    "did you mean 'chat'? allowed: agent, chat, rag"
    """
    near = get_close_matches(str(value), allowed, n=1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}allowed: {', '.join(allowed)}"


def plain(text: str) -> str:
    """``text`` for a terminal: what would move its cursor is written out, ``\\x1b``; ends of lines stay."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
