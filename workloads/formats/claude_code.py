"""Transcripts of Claude Code, as in ``~/.claude/projects``: text, usage and times of every call.

One file a session, and one for each sub-agent in ``SESSION/subagents``. A reply is written as several rows,
one for each block of its content, which share a ``message.id`` and repeat its usage. System prompt, tools
and cache marks are not in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Message, added, listed, merged, usage
from workloads.formats.exchange import miss_reason
from workloads.formats.exchange import name as named
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, text
from workloads.formats.reader import Reader
from workloads.formats.times import seconds

KINDS = frozenset({"user", "assistant"})
OTHER_ROWS = frozenset({
    "system", "summary", "file-history-snapshot", "attachment", "progress", "queue-operation",
    "permission-mode", "custom-title", "agent-name",
})  # fmt: skip
COMPACTED = "compact_boundary"
CLEARED = "microcompact_boundary"
"""The history goes on, with old tool results cleared."""


class ClaudeCodeLog(CallLog):
    """A transcript, or a folder of them such as ``~/.claude``.

    A call is one ``message.id``; the largest usage among its rows counts. It was sent at the last row
    before its first one and ended with its last. Its prompt has the tokens of its usage (uncached, read
    and written ones together): a head that the file does not show, equal for all sessions of one version,
    model and project, then the messages. After a compaction the prompt is that head and what follows it;
    after a rewind the history is what the next message's parent says. Calls of sub-agents are sessions of
    their own, which know their parent. Calls that were not logged leave no trace here.
    """

    format: Literal["claude_code"]
    ENDINGS: ClassVar[tuple[str, ...]] = (".jsonl",)
    LACKS: ClassVar[str] = (
        "calls that Claude Code did not log are missing: requests and costs are a lower bound"
    )

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A row of any kind that only these files have."""
        kind = str(row.get("type"))
        return (kind in KINDS and "sessionId" in row) or (
            kind in OTHER_ROWS and any(key in row for key in ("sessionId", "leafUuid", "messageId"))
        )

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """The calls of every file; a message that several files have counts where it is first."""
        seen: set[str] = set()
        for file in reader.files:
            lanes: dict[str, _Lane] = {}
            chains: dict[str, str] = {}

            def read(
                where: str, line: int, row: Row, file: Path = file, lanes: _Lanes = lanes,
                chains: dict[str, str] = chains,
            ) -> None:  # fmt: skip
                if row.get("type") == "progress" and isinstance(row.get("data"), dict):
                    row = _of_progress(row)
                if str(row.get("type")) not in KINDS and row.get("subtype") not in (COMPACTED, CLEARED):
                    return
                name, parent = _lane_name(where, row, file, chains)
                if name not in lanes:
                    lanes[name] = _Lane(histories, name, parent, seen)
                lanes[name].read(where, line, row)

            for _ in reader.of_file(file, read):
                pass
            for lane in lanes.values():
                yield from lane.done()


def _of_progress(row: Row) -> Row:
    """The row of a sub-agent that older versions wrap in a progress row of its parent."""
    data = row["data"]
    held = data.get("message")
    if not isinstance(held, dict) or str(held.get("type")) not in KINDS:
        return {}
    return {**row, **held, "agentId": data.get("agentId"), "isSidechain": True}


def _lane_name(where: str, row: Row, file: Path, chains: dict[str, str]) -> tuple[str, str | None]:
    """The session of a row, and the one that started it.

    Sub-agents without a name, which older versions write into their parent's file, are told apart by the
    chains of their rows; ``chains`` has the name of each row's.
    """
    session = named(row.get("sessionId"), where) or file.name.split(".")[0]
    agent = named(row.get("agentId"), where)
    if agent is None and file.parent.name == "subagents":
        agent = file.name.split(".")[0].removeprefix("agent-")
    if agent is None and row.get("isSidechain"):
        before = chains.get(str(row.get("parentUuid")))
        agent = before or f"sidechain-{len(set(chains.values())) + 1}"
        chains[str(row.get("uuid"))] = agent
    return (session, None) if agent is None else (f"{session}/{agent}", session)


_Lanes = dict[str, "_Lane"]


class _Lane:
    """The conversation of a session or of one sub-agent, as far as it was read."""

    def __init__(self, histories: Histories, name: str, parent: str | None, seen: set[str]) -> None:
        self._histories = histories
        self._name = name
        self._parent = parent
        self._seen = seen
        self._calls: list[Call] = []
        self._node: int | None = None
        """The last message; None until a model is known, on which the head depends."""
        self._head: int | None = None
        self._waiting: list[Message] = []
        """Messages that no call has sent yet."""
        self._folder: str | None = None
        """Where the client was started: its shell may go elsewhere, its system prompt stays."""
        self._asked_s: float | None = None
        self._tool = False
        """Whether the last thing asked is a tool's result."""
        self._cut = ""
        """What the client did to the history since the last call."""
        self._open: Call | None = None
        self._open_id = ""
        self._copied = False
        """Whether the call under way was read before, from a file that this one repeats."""
        self._blocks: list[Any] = []
        self._used: tuple[int, int, bool] = (-1, -1, False)
        self._same: Row = {}
        """The usage of the row before, of the same reply."""
        self._after_row: dict[str, int] = {}
        """The node that was the last message when a row had been read, by its uuid."""
        self._last_row = ""

    def read(self, where: str, line: int, row: Row) -> None:
        """Take in one row of the file."""
        if row.get("subtype") in (COMPACTED, CLEARED):
            self._close()
            self._cut = str(row["subtype"])
            if self._cut == COMPACTED:
                self._node, self._waiting = None, []
            return
        message = row.get("message")
        if not isinstance(message, dict):
            return
        if row["type"] == "assistant":
            self._reply_row(where, line, row, message)
        else:
            self._close()
            self._rewind(row)
            self._waiting += listed(message.get("content"), "user")
            self._asked_s = seconds(row.get("timestamp"), "timestamp", where)
            self._tool = _is_result(row, message)
        self._last_row = str(row.get("uuid"))
        if self._node is not None:
            self._after_row[self._last_row] = self._node

    def done(self) -> list[Call]:
        """All calls of the lane."""
        self._close()
        return self._calls

    def _rewind(self, row: Row) -> None:
        """Go back to an earlier message if the user did: a question whose parent lies further up."""
        parent = str(row.get("parentUuid"))
        earlier = self._after_row.get(parent)
        if earlier is None or parent == self._last_row or self._waiting or "toolUseResult" in row:
            return
        if earlier != self._node and self._histories.role[earlier] == "assistant":
            self._node = earlier

    def _reply_row(self, where: str, line: int, row: Row, message: Row) -> None:
        used = message.get("usage")
        if message.get("model") == "<synthetic>" or not isinstance(used, dict):
            return
        name = text(message, "id", f"{where}: message")
        if self._open is None or name != self._open_id:
            self._close()
            self._open_id = name
            self._begin(where, line, row, message)
        call = self._open
        assert call is not None
        call.ended_s = seconds(row.get("timestamp"), "timestamp", where)
        content = message.get("content")
        self._blocks += content if isinstance(content, list) else [content]
        call.said = call.said or miss_reason(message)
        if used == self._same:  # the rows of one reply repeat it
            return
        self._same = used
        counts = usage(used, f"{where}: message.usage")
        rank = (counts.output_tokens or 0, counts.input_tokens or 0, bool(message.get("stop_reason")))
        if rank > self._used:
            self._used = rank
            call.input_tokens, call.output_tokens = counts.input_tokens, counts.output_tokens
            call.read_tokens, call.written_tokens = counts.read_tokens, counts.written_tokens

    def _begin(self, where: str, line: int, row: Row, message: Row) -> None:
        self._copied = self._open_id in self._seen
        self._seen.add(self._open_id)
        call = Call(where, line, session=self._name, parent=self._parent)
        call.sent_s = self._asked_s
        if call.sent_s is None:
            call.sent_s = seconds(row.get("timestamp"), "timestamp", where)
        call.model, call.client = str(message.get("model")), str(row.get("version") or "")
        if self._folder is None:
            self._folder = str(row.get("cwd") or "")
        call.project, call.answers_tool = self._folder, self._tool
        call.cut, self._cut = self._cut, ""
        kind = "sub-agent" if self._parent else "main"
        facts = (row.get("version"), message.get("model"), self._folder, kind)
        call.head = self._histories.head("\0".join(map(str, facts)))
        if self._node is None:
            self._node = call.head
        elif call.head != self._head:  # another model or version: the same messages behind another head
            self._node = self._histories.behind(call.head, self._node)
        self._head = call.head
        self._node = added(self._histories, self._node, list(merged(self._waiting)))
        self._waiting = []
        if self._node == call.head:  # nothing was asked in this file: what was is unknown
            self._node = self._histories.add(call.head, "user", "")
        call.node = self._node
        self._open, self._blocks, self._used, self._same = call, [], (-1, -1, False), {}

    def _close(self) -> None:
        """The reply under way is complete."""
        call = self._open
        if call is None:
            return
        assert call.node is not None
        texts = [part.text for part in merged(listed(self._blocks, "assistant")) if part.text]
        call.reply = self._node = self._histories.add(call.node, "assistant", "\n".join(texts))
        self._after_row[self._last_row] = self._node
        if call.input_tokens and not self._copied:
            self._calls.append(call)
        self._open = None
        self._asked_s = None


def _is_result(row: Row, message: Row) -> bool:
    """Whether a row of the user's side is the result of a tool."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return "toolUseResult" in row or any(
        isinstance(part, dict) and part.get("type") == "tool_result" for part in parts
    )
