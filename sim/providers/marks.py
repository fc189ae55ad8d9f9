"""Where the client puts its cache marks: strategies, so that good and bad placement can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, PositiveInt, field_validator

from sim.providers.schema import Rules
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.messages_before import messages_before
from workloads.schema import AlsoTakes, Schema
from workloads.trace import Trace

Strategy = Literal["none", "system", "last", "window", "all", "recorded"]
NEEDS_SYSTEM = ("system", "all")


class Caching(Schema):
    """What the client asks of the provider.

    ``marks`` are set in every request: ``none``; ``system`` (the end of the system message); ``last``
    (the end of the prompt); ``window`` (the ends of the last ``window`` messages, moving with the
    conversation); ``all`` (the ends of tools and system, which stand together at the head, and of the
    history before the newest message); ``recorded`` (those that the trace has: the traffic of a live
    server). By default ``none`` in mode automatic, ``last`` in mode explicit
    and ``system`` for cache objects. ``ttl`` is the lifetime asked for (default: the provider's),
    ``system_ttl`` that of the system message's mark. ``key`` says which requests send the same cache key,
    where there is one.
    """

    mode: Annotated[Literal["automatic", "explicit", "off"], AlsoTakes({"const": False})] = "automatic"
    """`automatic` (the provider decides), `explicit` (the client marks) or `off`."""
    ttl: str | None = None
    """The lifetime that is asked for, by the provider's name, such as 5m; left out: its default."""
    system_ttl: str | None = None
    """The lifetime of the mark on the system message, where it is another one."""
    marks: Strategy | None = None
    """Where the client puts marks: none, system, last, window or all."""
    window: PositiveInt = 4
    """How many messages `marks: window` marks."""
    key: Literal["none", "session", "tenant", "request"] = Field(default="none")
    """Who sends the same cache key: each `session`, `tenant` or `request`, or no key at all (`none`)."""

    @field_validator("mode", mode="before")
    @classmethod
    def _off(cls, mode: Any) -> Any:
        return "off" if mode is False else mode  # YAML reads a bare off as false

    @property
    def strategy(self) -> Strategy:
        """``marks``, or what they are where nothing was said and nothing is rented."""
        if self.marks is not None:
            return self.marks
        return "last" if self.mode == "explicit" else "none"

    def filled(self, rules: Rules) -> Caching:
        """The same with the defaults for marks and lifetime filled in."""
        marks = self.marks
        if marks is None:
            marks = "system" if rules.kind == "object" else self.strategy
        return self.model_copy(update={"marks": marks, "ttl": self.ttl or rules.sold[0]})

    def check_lifetimes(self, rules: Rules, provider: str, key: str) -> None:
        """InputError unless the lifetimes that are named are sold, whether or not anything is cached."""
        for name in ("ttl", "system_ttl"):
            ttl = getattr(self, name)
            if ttl is not None and ttl not in rules.sold:
                raise InputError(
                    f"{key}.{name} = {ttl!r}: {provider} does not sell this lifetime; "
                    f"allowed: {', '.join(rules.sold)}"
                )

    def check(self, rules: Rules, provider: str, key: str) -> None:
        """InputError unless ``rules`` allow this; ``key`` names the section."""
        self.check_lifetimes(rules, provider, key)
        if self.strategy != "none" and not rules.client_marks:
            raise InputError(
                f"{key}.marks = {self.strategy!r}: {provider} takes no marks here; allowed: none"
            )
        if rules.kind == "object" and self.strategy not in ("system", "last", "recorded"):
            raise InputError(
                f"{key}.marks = {self.strategy!r}: a cache object holds one prefix; allowed: "
                "system, last, recorded"
            )
        most = self._most_marks(rules)
        if rules.over_limit == "reject" and most > rules.max_writes:
            raise InputError(
                f"{key}: {most} marks in a request (marks: {self.strategy}"
                f"{', and the automatic one' if self._automatic(rules) else ''}); "
                f"allowed: at most {rules.max_writes} ({provider})"
            )
        if self.system_ttl is not None:
            if self.strategy not in NEEDS_SYSTEM:
                raise InputError(
                    f"{key}.system_ttl = {self.system_ttl!r} without a mark on the system message; "
                    f"allowed: with marks {' or '.join(NEEDS_SYSTEM)}"
                )
            lifetimes = {lifetime.name: lifetime.seconds for lifetime in rules.lifetimes}
            rest = self.ttl or rules.sold[0]
            if lifetimes[self.system_ttl] < lifetimes[rest]:
                raise InputError(
                    f"{key}.system_ttl = {self.system_ttl!r} stands before marks with {rest}; allowed: "
                    "a lifetime at least as long, since longer ones come first"
                )

    def lifetimes(self, rules: Rules) -> tuple[int, int]:
        """The numbers of the lifetimes of (the system message's mark, all other marks)."""
        if self.mode == "off":
            return 0, 0
        rest = rules.sold.index(self.ttl) if self.ttl is not None else 0
        return (rest if self.system_ttl is None else rules.sold.index(self.system_ttl)), rest

    def _automatic(self, rules: Rules) -> bool:
        return rules.auto_mark and self.mode == "automatic"

    def _most_marks(self, rules: Rules) -> int:
        most = {"none": 0, "system": 1, "last": 1, "window": self.window, "all": 2, "recorded": 0}[
            self.strategy
        ]
        return most + self._automatic(rules)


class Mark(NamedTuple):
    """A mark on a prompt: an entry that ends at ``node``, written up to ``tokens``."""

    node: int
    tokens: int
    lifetime: int


class Marks:
    """The marks of each request, deepest first. They stand at ends of messages.

    Where a trace names blocks, a mark at the end of a prompt is found where later prompts meet it
    (`Trace.anchors`), though all its tokens are written.
    """

    def __init__(self, trace: Trace, caching: Caching, rules: Rules) -> None:
        self._trace = trace
        self._automatic = caching._automatic(rules)
        self._strategy = caching.strategy
        self._window = caching.window
        self._system_lifetime, self.lifetime = caching.lifetimes(rules)
        self._lifetimes = {one.seconds: number for number, one in enumerate(rules.lifetimes)}
        self._ends = trace.content.end
        self._before = messages_before(trace)
        self._anchor = trace.anchors
        self._marks_system = self._strategy in NEEDS_SYSTEM or rules.opening_written
        asked = self._marks_system or rules.opening
        self.system: Sequence[int] | None = None
        if asked and trace.grows:
            self.system = SystemEnds(trace)
        elif asked and trace.system_messages:
            self.system = system_ends(trace)

    def of(self, request: int) -> list[Mark]:
        """The marks of ``request``; a place that carries two marks carries one."""
        strategy, end = self._strategy, self._ends
        prompt, anchor = self._trace.prompt[request], self._anchor[request]
        if self._automatic or strategy in ("last", "window"):
            marks = [Mark(anchor, end[prompt], self.lifetime)]
            if strategy == "window":
                node = self._before[anchor]
                while len(marks) < self._window and node != ROOT:
                    marks.append(Mark(node, end[node], self.lifetime))
                    node = self._before[node]
        else:
            marks = []
        if strategy == "recorded":
            marks += self._recorded(request, marks)
        if strategy == "all":
            history = self._before[prompt]
            if history not in (ROOT, self._system_of(prompt)):
                marks.append(Mark(history, end[history], self.lifetime))
        if self._marks_system:
            system = self._system_of(prompt)
            if system != ROOT and not (marks and marks[-1].node == system):
                marks.append(Mark(system, end[system], self._system_lifetime))
        return marks

    def _recorded(self, request: int, marks: list[Mark]) -> list[Mark]:
        """The marks that the trace has of the request, the deepest first, but for those in ``marks``."""
        assert self._trace.marks is not None, "check_trace() first"
        there, ends = {mark.node for mark in marks}, self._ends
        own = [
            Mark(node, ends[node], self._lifetimes.get(ttl_s, self.lifetime))
            for node, ttl_s in self._trace.marks[request]
            if node not in there
        ]
        return sorted(own, key=lambda mark: -mark.tokens)

    def _system_of(self, node: int) -> int:
        return ROOT if self.system is None else self.system[node]


def system_ends(trace: Trace) -> list[int]:
    """For each segment the system message that heads its path, or ROOT."""
    parent, end = trace.content.parent, trace.content.end
    head = [ROOT] * len(trace.content)
    for node in sorted(range(1, len(trace.content)), key=end.__getitem__):
        head[node] = node if node in trace.system_messages else head[parent[node]]
    return head


class SystemEnds(Sequence[int]):
    """`system_ends` of a trace that grows, found when it is asked for. O(segments on the path)."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __len__(self) -> int:
        return len(self._trace.content)

    def __getitem__(self, node: Any) -> Any:
        parent, heads = self._trace.content.parent, self._trace.system_messages
        while node != ROOT and node not in heads:
            node = parent[node]
        return node
