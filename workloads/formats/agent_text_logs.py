"""Text logs of agents as LMCache publishes them: the client's text so far, and the reply.

Source of the format: github.com/LMCache/lmcache-agent-trace. One call a line: ``timestamp`` (microseconds
since 1970), ``input`` (everything that the client has sent in this session, joined), ``output``,
``session_id``. The earlier replies are not in ``input``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from workloads.errors import InputError
from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.history import START, Histories
from workloads.formats.jsonl import Row, number, text
from workloads.formats.reader import Reader
from workloads.shown import shown


@dataclass(slots=True)
class _Step:
    where: str
    line: int
    session: str
    at_us: float
    sent: str
    reply: str


class AgentTextLog(CallLog):
    """Prompts are rebuilt: first input, reply 1, what input 2 adds, reply 2, and so on.

    An input that does not begin with the one before it starts anew. Role marks and separators of the real
    chat template are not in the log, nor is a system message, so lengths are estimates.
    """

    format: Literal["agent_text_logs"]
    LACKS: ClassVar[str] = (
        "earlier replies are not in the logged inputs: prompts are rebuilt with them; a system message and "
        "the chat template's marks are missing"
    )

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """The four fields."""
        return row.keys() >= {"timestamp", "input", "output", "session_id"} and isinstance(
            row["input"], str
        )

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """The steps of every session in the order of their times, which is not that of the lines."""
        sessions: dict[str, list[_Step]] = {}
        for step in reader.each(_step):
            sessions.setdefault(step.session, []).append(step)
        for steps in sessions.values():
            steps.sort(key=lambda step: step.at_us)
            before, node = "", START
            for step in steps:
                if not step.sent.startswith(before) or step.sent == before:
                    before, node = "", START
                node = histories.add(node, "user", step.sent[len(before) :])
                call = Call(step.where, step.line, step.session, step.at_us / 1e6, node=node)
                node = call.reply = histories.add(node, "assistant", step.reply)
                before = step.sent
                yield call


def _step(where: str, line: int, row: Row) -> _Step:
    for key in ("input", "output"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise InputError(f"{where}: {key} = {shown(row.get(key))}; allowed: text")
    session = text(row, "session_id", where)
    return _Step(where, line, session, number(row, "timestamp", where), row["input"], row["output"])
