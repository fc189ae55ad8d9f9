"""A trace: the requests that arrive, and the content that their prompts share."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from workloads.chains import Chains
from workloads.content import ContentTree, Tree
from workloads.messages import MessageTree, Several, by_message
from workloads.part import Part
from workloads.recorded import Answered, anchors, answered

NONE = -1
GENERATED = "generated"
"""The origin of requests that a workload draws or writes out itself."""


def _places() -> array[int]:
    """An empty column of numbers that differ from each other: as an array they take a fifth of a list."""
    return array("q")


@dataclass(slots=True)
class Trace:
    """Requests as columns (one list or array each, index = request) over one content tree.

    A request either has an arrival time of its own (open loop, and the first turn of a session) or
    follows another request of its session: it then arrives ``think_s`` after that one's reply is
    complete (closed loop).

    >>> from workloads.content import ROOT
    >>> trace = Trace()
    >>> system = trace.content.append(ROOT, 50)
    >>> trace.add(prompt=trace.content.append(system, 5), output_tokens=10, arrival_s=0.0)
    0
    >>> trace.input_tokens
    [55]
    """

    content: ContentTree = field(default_factory=ContentTree)
    prompt: array[int] = field(default_factory=_places)
    """Segment at which the prompt ends."""
    reply: array[int] = field(default_factory=_places)
    """Segment at which the reply ends, below ``prompt``."""
    output_tokens: list[int] = field(default_factory=list)
    arrival_s: list[float | None] = field(default_factory=list)
    """Arrival in seconds from the start of the trace; None for a request that follows another."""
    follower: array[int] = field(default_factory=_places)
    """The request that waits for this one's reply, or NONE."""
    think_s: array[float] = field(default_factory=lambda: array("d"))
    """Seconds between the reply this request waits for and its own arrival; 0 if it waits for none."""
    continues: list[int] = field(default_factory=list)
    """The request whose reply is part of this prompt, or NONE, as far as an importer knows it."""
    session: list[int] = field(default_factory=list)
    parents: dict[int, int] = field(default_factory=dict)
    """The session that started another one (a sub-agent's), where the trace knows it."""
    turn: list[int] = field(default_factory=list)
    tenant: list[int] = field(default_factory=list)
    priority: list[int] = field(default_factory=list)
    """Priority as the trace gives it; what it means is up to the engine (vLLM: low goes first)."""
    request_ids: list[str] | None = None
    """The trace's own names of its requests, where it has them."""
    lengths_only: bool = False
    """Whether nothing is known of what prompts share, so that no hit rate can be told."""
    messages: bool = False
    """Whether the trace knows where messages end: every segment ends one unless it is continued."""
    several: dict[int, Several] = field(default_factory=dict)
    """Segments that hold several messages; ``by_message`` has a segment for each of those."""
    continuations: set[int] = field(default_factory=set)
    """Segments that go on with the message of the segment before them; see ``message_path``."""
    system_messages: set[int] = field(default_factory=set)
    """Segments at which system messages end, where the trace says so."""
    resent_replies: set[int] = field(default_factory=set)
    """Segments at which replies end that are resent behind other content than they were generated on."""
    named_blocks: list[int] | None = None
    """How many block ids each prompt has, where the trace names blocks; a last one may be partial."""
    block_id_tokens: int | None = None
    """Tokens that one such id names. Every segment then begins on a multiple of it."""
    api_s: list[float | None] | None = None
    """Seconds from each request to the end of its reply as recorded, where the trace says so."""
    models: list[str] | None = None
    """The model that each request was sent to, where the trace says so."""
    tool_turns: set[int] = field(default_factory=set)
    """Requests that answer a tool's result, where the trace says so; all others answer a user."""
    marks: list[list[tuple[int, float]]] | None = None
    """The cache marks that each request carried, where the trace says so: segments at whose ends they
    stand, and the lifetimes asked for, in s (0: the provider's default)."""
    left_after_s: list[float] | None = None
    """Seconds after its arrival at which the client of each request left, where the trace says so, whether
    the reply was complete or not; infinite: it stayed."""
    concurrency: int | None = None
    """Sessions at a time in closed loop (their arrival times are then 0); None: open loop."""
    equal_arrival: bool = False
    """Whether all arrivals are equal to a scheduler that breaks ties by them."""
    checkpoints_s: Sequence[float] = ()
    """Ascending times at which a run notes its counters, so that figures can be about a part of it."""
    drawn_starts: bool = False
    """Whether sessions start by a drawn process, which could go on like this for as long as one wants."""
    was_live: bool = False
    """Whether it was served live by a simulation: times in it are those of clients that waited for its
    replies, not a log to learn from when those were there."""
    grows: bool = False
    """Whether requests are added while it is served."""
    seed: int = 0
    """The experiment's seed, from which random sources of systems (routers) derive theirs."""
    origin: str = GENERATED
    """Where the requests come from, for messages: a file name, or 'generated'."""
    lines: list[int] | None = None
    """Line of each request in that file."""
    part: Part | None = None
    """What a part of a trace knows of the whole; None: it is whole."""
    notes: list[str] = field(default_factory=list)
    """What a reader of any figure has to know about the requests: how a file was read, what it lacks."""
    _chains: Chains | None = field(default=None, init=False, repr=False, compare=False)
    _message_tree: MessageTree | None = field(default=None, init=False, repr=False, compare=False)
    _by_message: Trace | None = field(default=None, init=False, repr=False, compare=False)
    _anchors: array[int] | None = field(default=None, init=False, repr=False, compare=False)
    _answered: tuple[int, Answered | None] = field(default=(0, None), init=False, repr=False, compare=False)
    _largest: tuple[int, int] = field(default=(0, 0), init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def requests(self) -> int:
        """How many requests the whole trace has, of which this may be a part."""
        return len(self) if self.part is None else self.part.requests

    @property
    def starting(self) -> int:
        """How many requests of the whole trace come at a time of their own."""
        if self.part is not None:
            return self.part.starts
        return sum(at is not None for at in self.arrival_s)

    @property
    def last_start_s(self) -> float:
        """When the last of these comes."""
        if self.part is not None:
            return self.part.last_start_s
        return max(at for at in self.arrival_s if at is not None)

    @property
    def input_tokens(self) -> list[int]:
        """Prompt length of every request in tokens, cached tokens included."""
        end = self.content.end
        return [end[segment] for segment in self.prompt]

    @property
    def chains(self) -> Chains:
        """The content in few pieces, made once: ask when all content is there."""
        if self._chains is None or len(self._chains.of) != len(self.content):
            self._chains = Chains(self.content)
        return self._chains

    @property
    def message_tree(self) -> Tree:
        """The content with a segment for every message, made once: ask when all content is there."""
        if not self.several:
            return self.content
        if self._message_tree is None:
            self._message_tree = MessageTree(self.content, self.several)
        return self._message_tree

    @property
    def by_message(self) -> Trace:
        """The same trace over ``message_tree``."""
        tree = self.message_tree
        if not isinstance(tree, MessageTree):
            return self
        if self._by_message is None:
            self._by_message = by_message(self, tree)
        return self._by_message

    @property
    def anchors(self) -> array[int]:
        """For each request the segment at which later prompts meet it, made once (`recorded.anchors`)."""
        if self._anchors is None or len(self._anchors) != len(self):
            self._anchors = anchors(self)
        return self._anchors

    @property
    def answered(self) -> Answered | None:
        """By when the log shows each reply to have been there, made once (`recorded.answered`)."""
        if self.was_live:
            return None
        if self._answered[0] != len(self):
            self._answered = (len(self), answered(self))
        return self._answered[1]

    @property
    def largest_tokens(self) -> int:
        """KV entries that the largest request needs alone: prompt and reply but its last token."""
        if self._largest[0] != len(self):
            needs = zip(self.input_tokens, self.output_tokens, strict=True)
            self._largest = (len(self), max((prompt + output - 1 for prompt, output in needs), default=0))
        return self._largest[1]

    def add(
        self,
        *,
        prompt: int,
        output_tokens: int,
        arrival_s: float | None = None,
        follows: int = NONE,
        think_s: float = 0.0,
        continues: int = NONE,
        reply: int | None = None,
        session: int | None = None,
        turn: int = 1,
        tenant: int = 0,
        priority: int = 0,
    ) -> int:
        """Append a request and return its index; exactly one of ``arrival_s``, ``follows`` is given.

        ``reply`` is the segment at which the reply ends, where other prompts contain (part of) it; by
        default the reply is new content after the prompt.
        """
        if (arrival_s is None) == (follows == NONE):
            raise ValueError("a request has an arrival time or follows another one")
        index = len(self.prompt)
        self.prompt.append(prompt)
        self.reply.append(self.content.append(prompt, output_tokens) if reply is None else reply)
        self.output_tokens.append(output_tokens)
        self.arrival_s.append(arrival_s)
        self.follower.append(NONE)
        self.think_s.append(think_s)
        self.continues.append(continues)
        self.session.append(index if session is None else session)
        self.turn.append(turn)
        self.tenant.append(tenant)
        self.priority.append(priority)
        if follows != NONE:
            self.follower[follows] = index
        return index

    def wait(self, request: int, before: int, think_s: float) -> None:
        """Let ``request`` come ``think_s`` after the reply to ``before``, not at a time of its own."""
        self.arrival_s[request] = None
        self.follower[before] = request
        self.think_s[request] = think_s

    def message_path(self, segment: int) -> list[int]:
        """The segments at which the messages of the path to ``segment`` end, the first message first.

        Only for a trace with ``messages`` and a segment for each (``by_message``). A message of several
        segments is named by its last one.
        """
        path = self.content.path(segment)
        if not self.continuations:
            return path
        nexts = [*path[1:], NONE]
        return [at for at, after in zip(path, nexts, strict=True) if after not in self.continuations]

    def where(self, index: int) -> str:
        """Where request ``index`` comes from, for messages."""
        if self.lines is not None:
            return f"{self.origin}:{self.lines[index]}"
        number = index if self.part is None else self.part.numbers[index]
        return f"{self.origin} request {number} (session {self.session[index]}, turn {self.turn[index]})"

    def starts(self) -> list[int]:
        """Requests with an arrival time of their own, by (time, index)."""
        arrival = self.arrival_s
        with_time = [(at, i) for i, at in enumerate(arrival) if at is not None]
        with_time.sort()
        return [i for _, i in with_time]

    def instant_order(self) -> list[tuple[float, int]]:
        """All requests as (arrival in s, index) if every reply took no time, by (time, index)."""
        heap = [(at, i) for i, at in enumerate(self.arrival_s) if at is not None]
        heapq.heapify(heap)
        order = []
        while heap:
            at, i = heapq.heappop(heap)
            order.append((at, i))
            after = self.follower[i]
            if after != NONE:
                heapq.heappush(heap, (at + self.think_s[after], after))
        return order
