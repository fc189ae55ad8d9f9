"""ShareGPT and its relatives: whole conversations as text, without times.

An array or JSON Lines of ``{id, conversations: [{from, value}, ...]}``; WildChat's and LMSYS's
``{conversation_id, conversation: [{role, content}, ...]}`` are read too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workloads.formats.api_log import replies
from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import ROLES, Message, merged
from workloads.formats.exchange import first, name
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, objects
from workloads.formats.reader import Reader


class ShareGptTrace(CallLog):
    """Conversations: the prompt of a turn is every message before the reply.

    A conversation that opens with a reply is read from the first user message on.
    """

    format: Literal["sharegpt"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A list of conversations under one of the two names."""
        return isinstance(first(row, ("conversations", "conversation")), list)

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call for every reply that follows a message."""

        def read(where: str, line: int, row: Row) -> list[Call]:
            key = "conversations" if "conversations" in row else "conversation"
            sent = [_message(item) for item in objects(row, key, where)]
            while sent and sent[0].role == "assistant":
                del sent[0]
            if not any(message.role == "assistant" for message in sent):
                reader.left_out["conversations without a reply"] += 1
                return []
            named = name(first(row, ("id", "conversation_id", "conversation_hash")), where)
            session = f"line {line}" if named is None else named
            return replies(where, line, session, list(merged(sent)), histories)

        for made in reader.each(read):
            yield from made


def _message(item: Row) -> Message:
    role = str(first(item, ("from", "role")) or "user")
    text = first(item, ("value", "content"))
    return Message(ROLES.get(role, role), str(text or "").strip())
