"""Logs of model calls with their messages: what they have in common, from a file to a trace."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from workloads.arrivals import Arrivals, Recorded, fill_process
from workloads.errors import InputError
from workloads.formats.call import Call, link
from workloads.formats.call_content import CallContent
from workloads.formats.history import TOKENS_PER_CHARACTER, Histories
from workloads.formats.jsonl import ENDINGS, Row
from workloads.formats.reader import Reader
from workloads.formats.schedule import add_calls
from workloads.formats.timing import span_note
from workloads.formats.tokenizing import counter
from workloads.lengths import Distribution
from workloads.schema import Schema
from workloads.trace import NONE, Trace

CallArrivals = Annotated[
    Annotated[Recorded | Arrivals, Field(discriminator="process")], BeforeValidator(fill_process)
]


class CallLog(Schema):
    """A file or folder of logged calls; every call is a request.

    Equal messages behind equal messages are shared content. A prompt has as many tokens as were logged;
    its messages have the file's own tokens per character, and the newest one what is left. Where nothing
    was logged, ``tokenizer`` counts, or ``tokens_per_character`` estimates. Texts are not kept.

    Calls of one session are its turns, in the order of their times, else of the file. Without a session in
    the file a call belongs to the session whose last prompt and reply it begins with.

    ``loop: open`` keeps the recorded times. ``loop: closed`` lets a turn wait for the reply before it, and
    then for the recorded time from that reply to this call, or from call to call where the end of a reply
    was not logged. ``arrival`` sets when sessions start, by default as recorded; with ``closed_loop``
    turns wait in any case. Files without times need an ``arrival``, and their turns wait for
    ``think_time_s``.
    """

    ENDINGS: ClassVar[Sequence[str]] = ENDINGS
    LACKS: ClassVar[str] = ""
    """What no file of this format shows, as a sentence for the notes."""

    kind: Literal["trace"]
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    loop: Literal["open", "closed"] = "open"
    """`open`: all calls at their recorded times; `closed`: a call waits for the reply before it, then a
    think time."""
    arrival: CallArrivals = Recorded()
    """When sessions start: as recorded, or by any process of a generated workload."""
    think_time_s: Distribution | None = None
    """Between a reply and the next turn, for files without times; by default none."""
    sessions: PositiveInt | None = None
    """Only so many, the first to start."""
    tokenizer: Path | None = None
    """A Hugging Face tokenizer.json."""
    tokens_per_character: PositiveFloat = TOKENS_PER_CHARACTER
    """Tokens for each character of a text whose length was not logged and that no tokenizer counts."""
    reply_tokens: PositiveInt | None = None
    """Length of replies of which the file says nothing."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    @classmethod
    @abstractmethod
    def recognises(cls, row: Row) -> bool:
        """Whether ``row``, one of the first of a file, is surely of this format."""

    @abstractmethod
    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """The calls of the files in their order, their messages in ``histories``."""

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file or folder, relative to ``folder`` (of the configuration) or the current one."""
        reader, histories, calls = self.linked(folder)
        trace = Trace(origin=reader.path.name, messages=all(call.node is not None for call in calls))
        content = CallContent(trace, histories, calls, self.reply_tokens)
        add_calls(trace, self, calls, content, seed)
        content.name_messages()
        trace.notes = self._notes(trace, calls, content, reader)
        if reader.several:
            trace.lines = None  # a line alone does not tell the file
        return trace

    def linked(self, folder: Path) -> tuple[Reader, Histories, list[Call]]:
        """The calls in their order, with their sessions and what each continues, and their messages."""
        reader = Reader(self.path, folder, self.skip_bad_lines, self.ENDINGS)
        histories = Histories(counter(self.tokenizer, self.tokens_per_character, folder))
        calls = self._ordered(reader, list(self.calls(reader, histories)))
        link(calls, histories)
        return reader, histories, self._first_sessions(reader, calls)

    def _ordered(self, reader: Reader, calls: list[Call]) -> list[Call]:
        """By time, else as read."""
        if not calls:
            raise InputError(f"{reader.path}: no requests; allowed: one call a row")
        untimed = [call for call in calls if call.sent_s is None]
        if untimed and len(untimed) < len(calls):
            raise InputError(f"{untimed[0].where}: no time; allowed: a time in every row, or in none")
        if untimed and isinstance(self.arrival, Recorded):
            raise InputError(
                f"{reader.path}: the file has no times; allowed: arrival: {{process: closed_loop, "
                "concurrency: N}, or poisson or uniform with a rate_per_s; with python -m workloads "
                "--set arrival.process=closed_loop --set arrival.concurrency=1"
            )
        if not untimed:
            calls.sort(key=lambda call: call.sent_s or 0.0)
        return calls

    def _first_sessions(self, reader: Reader, calls: list[Call]) -> list[Call]:
        if self.sessions is None:
            return calls
        kept = dict.fromkeys(call.session for call in calls)
        if len(kept) < self.sessions:
            raise InputError(
                f"{reader.path}: sessions = {self.sessions}; allowed: at most {len(kept)}, all it has"
            )
        first = set(list(kept)[: self.sessions])
        places = [place for place, call in enumerate(calls) if call.session in first]
        moved = {place: new for new, place in enumerate(places)} | {NONE: NONE}
        for place in places:
            calls[place].follows = moved[calls[place].follows]
            calls[place].continues = moved.get(calls[place].continues, NONE)
        return [calls[place] for place in places]

    def _notes(self, trace: Trace, calls: list[Call], content: CallContent, reader: Reader) -> list[str]:
        timed = calls[0].sent_s is not None
        notes = [span_note(trace, "recorded times" if timed else "no times in the file")]
        if not timed and self.think_time_s is None and any(call.follows != NONE for call in calls):
            notes.append(
                "think times are not in the file: a turn comes as soon as the reply before is there"
            )
        estimate = f"estimated at {self.tokens_per_character:g} tokens a character, usually within 30 %"
        notes += content.notes("counted by the tokenizer" if self.tokenizer else estimate)
        if self.LACKS:
            notes.append(self.LACKS)
        return [notes[0], *(f"{trace.origin}: {note}" for note in notes[1:]), *reader.notes()]
