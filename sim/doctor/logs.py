"""Logged calls of any importer whose rows say what the provider counted, as lanes of the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

from pydantic import ValidationError

from sim.doctor.calls import (
    FEBRUARY,
    Call,
    Lane,
    Prompts,
    Tokens,
    first_units,
    shared_units,
    turn_of,
)
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.formats.call import Call as LoggedCall
from workloads.formats.calls import CallLog
from workloads.formats.history import START, Histories
from workloads.in_words import first_problem
from workloads.ranges import Run
from workloads.registry import FORMATS
from workloads.shown import nearest

YEAR_2000_S = 946_684_800.0
"""A log whose times are later than that, counted from 1970, has dates."""
ALWAYS_COUNTED = ("claude_code",)
"""Formats whose usage has counts of the cache where there are any; elsewhere a missing one is unknown."""
UNTIMED = {"arrival": {"process": "closed_loop", "concurrency": 1}}
"""So that the importer leaves it to us to say that a log has no times."""
UNKNOWN = 1 << 60
"""From this number on messages are named that are not in the log."""
CUTS_AT_HEAD = ("microcompact_boundary", "shorter")
"""Of what is left of such a prompt only the head is known."""


def lanes(path: Path, format: str, skip: int = 0, model: str = "") -> list[Lane]:
    """The calls of every session that the importer ``format`` reads from ``path``.

    Of their text only the order of equal messages is kept. ``model`` is that of calls that name none.
    InputError if the rows do not say when calls were sent, or what they read from a cache.
    """
    kind = FORMATS.get(format)
    if kind is None:
        raise InputError(f"--format {format}; {nearest(format, ['billed', *FORMATS])}")
    if not issubclass(kind, CallLog):
        raise InputError(
            f"{path}: format {format} has no counts of what a provider read from its cache; allowed: rows "
            "with usage, or with billed"
        )
    data = {"kind": "trace", "format": format, "path": path, "skip_bad_lines": skip} | UNTIMED
    try:
        log = kind.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, data)} (format {format})") from None
    reader, histories, calls = log.linked(Path())
    if calls[0].sent_s is None:
        raise InputError(
            f"{reader.path}: the rows have no times; allowed: a log with the time of each call"
        )
    for call in calls:
        call.model = call.model or model
        if format in ALWAYS_COUNTED and call.read_tokens is None:
            call.read_tokens, call.written_tokens = 0, (0, 0)
    billed = [call for call in calls if call.input_tokens and call.read_tokens is not None]
    if not billed:
        raise InputError(
            f"{reader.path}: no call says how many tokens were read from a cache; allowed: rows with the "
            "provider's usage"
        )
    return list(_lanes(billed, histories))


def _lanes(calls: Sequence[LoggedCall], histories: Histories) -> Iterator[Lane]:
    by_session: dict[str, list[LoggedCall]] = {}
    for call in calls:
        by_session.setdefault(call.session or "", []).append(call)
    prompts, paths = Prompts(), _Paths(histories)
    for name, logged in by_session.items():
        first = logged[0]
        start_s = first.sent_s or 0.0
        dated = start_s > YEAR_2000_S
        start = datetime.fromtimestamp(start_s, UTC) if dated else FEBRUARY
        lane = Lane(name, [], first.parent or name, first.project, first.parent is not None, start, dated)
        lane.prompts = prompts
        builder = _Builder(lane, histories, paths)
        for number, call in enumerate(logged):
            builder.add(call, float(number) if call.sent_s is None else call.sent_s - start_s)
        yield lane


class _Paths:
    """The messages of a prompt as runs of consecutive nodes, each made from that of an earlier prompt."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._known: dict[int, tuple[Run, ...]] = {START: ()}
        self._unknown = UNKNOWN
        self._positions = {START: 0}

    def positions(self, node: int) -> int:
        """How many positions a mark counts up to ``node``: neighbouring results of tools are one.

        O(messages behind the last prompt that is known).
        """
        before, role = self._histories.before, self._histories.role
        behind = []
        while node not in self._positions:
            behind.append(node)
            node = before[node]
        count = self._positions[node]
        for one in reversed(behind):
            count += not (role[one] == "tool" and role[before[one]] == "tool")
            self._positions[one] = count
        return count

    def of(self, node: int) -> tuple[Run, ...]:
        """The runs of the path to ``node``; O(runs + messages behind the last prompt that is known)."""
        behind: list[int] = []
        at = node
        while at not in self._known:
            behind.append(at)
            at = self._histories.before[at]
        runs = list(self._known[at])
        for one in reversed(behind):
            if runs and sum(runs[-1]) == one:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((one, 1))
        self._known[node] = tuple(runs)
        return self._known[node]

    def unknown(self, units: int) -> tuple[Run, ...]:
        """So many messages that no other prompt has."""
        self._unknown += units
        return ((self._unknown - units, units),)


class _Builder:
    """Makes the calls of one lane."""

    def __init__(self, lane: Lane, histories: Histories, paths: _Paths) -> None:
        self._lane, self._histories, self._paths = lane, histories, paths
        self._runs: tuple[Run, ...] = ()
        self._places: dict[int, int] = {}
        """Where earlier prompts end, by their tokens."""
        self._node: int | None = None
        self._cut: tuple[tuple[Run, ...], tuple[Run, ...]] = ((), ())
        """The last prompt of which only the head is known to be as before: as logged, and as taken."""

    def add(self, logged: LoggedCall, at_s: float) -> None:
        """The next call of the lane."""
        lane, prompts = self._lane, self._lane.prompts
        last = lane.calls[-1] if lane.calls else None
        assert logged.input_tokens is not None and logged.read_tokens is not None
        read = min(logged.read_tokens, logged.input_tokens)
        written = logged.written_tokens or (0, 0)
        plain = max(0, logged.input_tokens - read - sum(written))
        marked = read + sum(written) if logged.written_tokens is not None else logged.input_tokens
        ttl = int(written[1] > written[0]) if any(written) else last.ttl if last else 0
        runs = self._prompt(logged.node)
        how = logged.cut or ("first" if last is None else "append")
        if last is not None and logged.model == last.model and marked < last.marked and not logged.cut:
            how = "shorter"
        if how in CUTS_AT_HEAD and logged.node is not None:
            units = self._histories.depth[logged.node]
            self._cut = (self._paths.of(logged.node), (*first_units(runs, 1), *self._paths.unknown(units)))
            runs = self._cut[1]
        differs = "" if last is None else self._differs(logged.node, how)
        if last is None:
            prompt = prompts.add("", runs)
        else:
            prompt = prompts.add("", runs, self._runs, last.prompt)
        call = Call(
            at_s=at_s if last is None else max(at_s, last.at_s),
            model=logged.model or "",
            marked=marked or logged.input_tokens,
            prompt=prompt,
            read_at=ROOT,
            ttl=ttl,
            billed=Tokens(plain, written, read),
            how=how,
            differs=differs,
            turn=turn_of(last, at_s),
            client=logged.client,
            effort=logged.effort,
            output_tokens=logged.output_tokens or 0,
            said=logged.said,
            positions=0 if logged.node is None else self._paths.positions(logged.node),
        )
        if logged.ended_s is not None and logged.sent_s is not None:
            call.ended_s = call.at_s + max(0.0, logged.ended_s - logged.sent_s)
        if logged.answers_tool is not None:
            call.turn = "tool" if logged.answers_tool else "user"
        call.read_at = self._read_at(call, runs)
        if logged.node is not None and (last is None or differs):
            self._note_parts(call, logged.node, last is None)
        self._places[call.marked] = prompt
        self._runs, self._node = runs, logged.node
        lane.calls.append(call)

    def _prompt(self, node: int | None) -> tuple[Run, ...]:
        """The messages of a prompt; what stood in one that was cut is as it was then."""
        if node is None:
            return self._paths.unknown(1)
        runs = self._paths.of(node)
        logged, taken = self._cut
        units = sum(count for _, count in logged)
        if logged and shared_units(runs, logged) == units:
            return (*taken, *first_units(runs, None, units))
        return runs

    def _read_at(self, call: Call, runs: Sequence[Run]) -> int:
        """The end of an earlier prompt if so much was read, else that of the head."""
        place = self._places.get(call.billed.read)
        prompts = self._lane.prompts
        if place is not None and prompts.begins(call.prompt, place):
            return place
        return prompts.at("", runs, call.prompt, 1 if call.billed.read else 0)

    def _note_parts(self, call: Call, node: int, first: bool) -> None:
        """What the messages of a first prompt are, or which of them the call before had sent elsewhere."""
        histories = self._histories
        parts = _messages(histories, node)
        estimated = fsum(tokens for _, tokens in parts)
        if first:
            if parts[0][1] == 0:  # an unlogged head: what the messages leave of the prompt
                parts[0] = (parts[0][0], max(0.0, call.marked - estimated))
            call.opening = tuple(parts)
        elif self._node is not None and estimated:
            before = _messages(histories, self._node)
            same = 0
            while same < min(len(parts), len(before)) and parts[same] == before[same]:
                same += 1
            there = {name for name, _ in before[same:]}
            moved = fsum(tokens for name, tokens in parts[same:] if name in there)
            call.moved = round(moved * min(1.0, call.marked / estimated))

    def _differs(self, node: int | None, how: str) -> str:
        """The role of the first message that the call before had not sent, if this is no continuation."""
        before, histories = self._node, self._histories
        if node is None or before is None or how in CUTS_AT_HEAD:
            return ""
        first = ""
        while node != before:
            new, old = histories.depth[node], histories.depth[before]
            if new >= old:
                first, node = histories.role[node], histories.before[node]
            if old >= new:
                before = histories.before[before]
        return "" if node == self._node else first


def _messages(histories: Histories, node: int) -> list[tuple[bytes, float]]:
    """The messages of a prompt: what names each, and about how many tokens it has."""
    found = []
    while node != START:
        found.append((histories.same_text(node), histories.tokens[node]))
        node = histories.before[node]
    return found[::-1]
