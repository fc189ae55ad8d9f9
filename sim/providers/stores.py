"""What a provider keeps, by kind of rule: look a prompt up, then store it once its times are known."""

from __future__ import annotations

from sim.providers.entries import Draws, Entry, Found, Machine, Moment, Store
from sim.providers.marks import Mark, Marks
from sim.providers.schema import Rules
from workloads.content import ROOT
from workloads.messages_before import messages_before
from workloads.trace import Trace


class Breakpoints(Store):
    """Entries end at marks and nowhere else; a mark finds what ends a limited way before it."""

    def __init__(
        self, trace: Trace, rules: Rules, marks: Marks, luck: Draws, found: Found, chance: Draws
    ) -> None:
        super().__init__(trace, rules, marks, luck, found, chance)
        by_message = rules.lookback_unit == "message" and trace.messages
        self._by_message = by_message
        self._not_counted = bytearray(len(trace.content))
        for replies in (trace.reply, trace.resent_replies) if by_message else ():
            for segment in replies:
                self._not_counted[segment] = 1
        self._before = messages_before(trace)
        self._marks: list[Mark] = []
        self._read: Entry | None = None

    def grow(self, request: int) -> None:
        self._not_counted += bytes(len(self.trace.content) - len(self._not_counted))
        if self._by_message:
            self._not_counted[self.trace.reply[request]] = 1

    def lookup(self, request: int, at_s: float, machine: Machine) -> int:
        self._marks = self.marks.of(request)
        node = ROOT if not self.sure and self.fails(request) else self._longest(request, at_s, machine)
        self._read = machine.get(node)
        self.found.read_tokens[request] = self.end[node]
        return self.end[node]

    def _longest(self, request: int, at_s: float, machine: Machine) -> int:
        """The segment at whose end the longest entry in reach ends, or ROOT."""
        before, skipped, lookback = self._before, self._not_counted, self.rules.lookback
        for mark in self._marks:
            node, left = mark.node, lookback
            while node != ROOT and left:
                if node in machine and self.alive(machine[node], at_s):
                    return node
                if not skipped[node]:
                    left -= 1
                node = before[node]
        if self.rules.opening and self.marks.system is not None:
            opening = self.marks.system[self.trace.prompt[request]]
            if self.alive(machine.get(opening), at_s):
                return opening
        return ROOT

    def store(self, request: int, moment: Moment, machine: Machine) -> None:
        read = done = self.found.read_tokens[request]
        if self._read is not None:
            self.refresh(self._read, request, moment)
        for mark in reversed(self._marks[: self.rules.max_writes]):
            entry = machine.get(mark.node)
            if self.end[mark.node] > read and mark.tokens >= self.rules.min_tokens:
                self.put(mark.node, mark.lifetime, request, moment, machine)
            elif entry is not None and entry is not self._read and self.alive(entry, moment.at_s):
                self.refresh(entry, request, moment)
            if mark.tokens > done and mark.tokens >= self.rules.min_tokens:
                self.found.written_tokens[mark.lifetime][request] += mark.tokens - done
                done = mark.tokens


class GridStore(Store):
    """Any prefix that is stored is found, in whole steps of tokens."""

    def __init__(
        self, trace: Trace, rules: Rules, marks: Marks, luck: Draws, found: Found, chance: Draws
    ) -> None:
        super().__init__(trace, rules, marks, luck, found, chance)
        self._path: list[int] = []

    def lookup(self, request: int, at_s: float, machine: Machine) -> int:
        rules = self.rules
        self._path = self.trace.content.path(self.trace.prompt[request])
        if not self.sure and self.fails(request):
            return 0
        steps = (self._stored(at_s, machine) - rules.first_tokens) // rules.granularity
        tokens = rules.first_tokens + steps * rules.granularity
        if steps < 0 or tokens < rules.min_tokens:
            return 0
        self.found.read_tokens[request] = tokens
        return tokens

    def _stored(self, at_s: float, machine: Machine) -> int:
        """Tokens up to the first segment of the prompt at hand that is not there."""
        last = ROOT
        for node in self._path:
            entry = machine.get(node)
            # `alive` in line: this and the loop of `store` run for every segment of every prompt.
            if entry is None or entry.visible_s > at_s:
                break
            if at_s >= entry.expires_s and not self._lives(entry, at_s):
                break
            last = node
        return 0 if last == ROOT else min(self.end[last], machine[last].reach)

    def store(self, request: int, moment: Moment, machine: Machine) -> None:
        prompt = self.trace.prompt[request]
        if self.end[prompt] < self.rules.min_tokens:
            return
        lifetime, at_s, refresh = self.marks.lifetime, moment.at_s, self.rules.refresh_on_read
        cap_s = self.rules.lifetimes[lifetime].cap_s
        until_s = moment.clock_s + self._seconds(lifetime, request)
        if self.rules.unstored_tokens:  # writes of such rules are not billed
            self._store_part(self.end[prompt] - self.rules.unstored_tokens, request, moment, machine)
            return
        for node in self._path:
            entry = machine.get(node)
            if entry is None or entry.visible_s > at_s or at_s >= entry.expires_s:
                self.put(node, lifetime, request, moment, machine)
            elif refresh:
                entry.expires_s = until_s if cap_s is None else min(until_s, entry.first_s + cap_s)
        if self.rules.lifetimes[lifetime].write_mult is not None:
            written = self.end[prompt] - self.found.read_tokens[request]
            self.found.written_tokens[lifetime][request] = written

    def split(self, upper: int, lower: int, machine: Machine) -> None:
        """Whoever stored all of the segment stored its upper part too."""
        entry = machine.get(lower)
        if entry is None:
            return
        above = machine[upper] = Entry(entry.visible_s, entry.expires_s, entry.first_s, entry.lifetime)
        above.reach = entry.reach
        if entry.reach <= self.end[upper]:
            del machine[lower]

    def _store_part(self, stored: int, request: int, moment: Moment, machine: Machine) -> None:
        """Store the first ``stored`` tokens of the prompt at hand, of the last segment perhaps a part."""
        for node in self._path:
            if self.end[self.parent[node]] >= stored:
                break
            entry = machine.get(node)
            there = entry.reach if entry is not None and self._lives(entry, moment.at_s) else 0
            self.put(node, self.marks.lifetime, request, moment, machine)
            machine[node].reach = max(there, min(stored, self.end[node]))


class Units(Store):
    """Whole units only: ends of inputs and outputs, prefixes noticed to be common, every so many tokens."""

    def __init__(
        self, trace: Trace, rules: Rules, marks: Marks, luck: Draws, found: Found, chance: Draws
    ) -> None:
        super().__init__(trace, rules, marks, luck, found, chance)
        self._anchor = trace.anchors
        self._seen = {ROOT}
        self._times: dict[int, int] = {}
        self._read: Entry | None = None
        self._grid: GridStore | None = None
        self._grid_machine: Machine = {}
        if rules.interval_tokens is not None:
            even = rules.model_copy(update={"granularity": rules.interval_tokens, "kind": "grid"})
            self._grid = GridStore(trace, even, marks, luck, found, chance)

    def lookup(self, request: int, at_s: float, machine: Machine) -> int:
        node = ROOT if not self.sure and self.fails(request) else self.trace.prompt[request]
        while node != ROOT and not (node in machine and self.alive(machine[node], at_s)):
            node = self.parent[node]
        self._read = machine.get(node)
        tokens = self.end[node]
        if self._grid is not None:
            tokens = max(tokens, self._grid.lookup(request, at_s, self._grid_machine))
        self.found.read_tokens[request] = tokens
        return tokens

    def store(self, request: int, moment: Moment, machine: Machine) -> None:
        if self._read is not None:
            self.refresh(self._read, request, moment)
        units = [self._anchor[request]]
        if self.rules.unit_at_reply_end:
            units.append(self.trace.reply[request])
        common, times = self._notice(self.trace.prompt[request])
        after = self.rules.common_prefix_after
        if common != ROOT and after is not None and times >= after:
            units.append(common)
        for unit in units:
            if self.end[unit] >= self.rules.min_tokens:
                self.put(unit, self.marks.lifetime, request, moment, machine)
        if self._grid is not None:
            self._grid.store(request, moment, self._grid_machine)

    def split(self, upper: int, lower: int, machine: Machine) -> None:
        """A prompt that had all of the segment had its upper part too; units end where they did."""
        if lower in self._seen:
            self._seen.add(upper)
        if self._grid is not None:
            self._grid.split(upper, lower, self._grid_machine)

    def _notice(self, prompt: int) -> tuple[int, int]:
        """The longest prefix that earlier prompts had too, and how many prompts have had it by now."""
        node = prompt
        while node not in self._seen:
            self._seen.add(node)
            node = self.parent[node]
        self._times[node] = self._times.get(node, 1) + 1
        return node, self._times[node]


class Objects(Store):
    """Cache objects that the client makes for the marked prefix when there is none, and rents by the hour.

    An object lives from its making, is not kept alive by reads, and serves the request it was made for.
    """

    def lookup(self, request: int, at_s: float, machine: Machine) -> int:
        marks = self.marks.of(request)
        if not marks or self.end[marks[0].node] < max(1, self.rules.min_tokens):
            return 0
        node, lifetime = marks[0].node, marks[0].lifetime
        tokens = self.end[node]
        if (not self.sure and self.fails(request)) or not self.alive(machine.get(node), at_s):
            machine[node] = Entry(at_s, self._until(lifetime, request, at_s, at_s), at_s, lifetime)
            self.found.created_tokens[request] = tokens
            self.found.storage_s[request] = machine[node].expires_s - at_s
        self.found.read_tokens[request] = tokens
        return tokens

    def store(self, request: int, moment: Moment, machine: Machine) -> None:
        """Nothing: only objects are kept."""


KINDS: dict[str, type[Store]] = {
    "breakpoint": Breakpoints,
    "grid": GridStore,
    "chance": GridStore,
    "unit": Units,
    "object": Objects,
}
"""The store of each kind of rules."""
