"""Naive reference model of SGLang 0.5.23's scheduler with overlap, its server's default loop.

The scheduler decides a step while the step before it computes, so before it knows that step's tokens. What
differs from `NaiveSglang` is when results arrive: a step is launched, then the results of the step before
it are applied. Slow and per token on purpose; tests compare the simulator with it; they share no code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.naive_radix import NaiveNode, NaiveRadix
from tests.oracles.naive_sglang import Batch, Building, Live, NaiveSglang, NaiveStep
from tests.oracles.naive_vllm import NaiveRequest


@dataclass
class OverlapStep(NaiveStep):
    """One forward pass; decided at ``at``, it computes from ``start`` to ``start`` + 1."""

    at: float = 0
    start: float = 0
    kind: str = "decode"
    surplus: list[str] = field(default_factory=list)
    """Those that had ended in the step before: their tokens are for nothing."""
    dropped: list[str] = field(default_factory=list)
    """Those that were retracted while this step computed: their tokens are lost."""


@dataclass
class Flying:
    """A launched step whose results nobody has seen."""

    record: OverlapStep
    batch: list[Live]
    """As they were when it was launched."""
    cut: Live | None
    """The one of them whose prompt goes on in another step."""
    end: float = 0


class NaiveOverlap(NaiveSglang):
    """``add`` requests; then `schedule` a step, and after it apply the `results` of the step before."""

    def __init__(self, radix: NaiveRadix, **options: Any) -> None:
        super().__init__(radix, **options)
        self.flying: Flying | None = None
        self.launched: Flying | None = None
        self.ended: set[Live] = set()
        self.noted = 0  # evictions that some step has reported
        self.lost: set[Live] = set()  # retracted and not admitted again

    def schedule(self) -> OverlapStep | None:
        """Decide the next step while ``flying`` computes; None if there is nothing to compute."""
        self.launched = None
        self._join()
        if self._prefill() is None and self.running.reqs:
            self._decode()
        if self.launched is None:
            self.last = None
            return None
        return self.launched.record

    def results(self, flying: Flying) -> None:
        """What the end of a step's computation tells."""
        record = flying.record
        for req in flying.batch:
            if req in self.ended:
                record.surplus.append(req.ask.id)
            elif req in self.lost:
                record.dropped.append(req.ask.id)
            elif req is not flying.cut:
                req.out += 1
                if req.done:
                    record.finished.append(req.ask.id)
                    self._publish(req, min(len(req.row), len(req.tokens)))
                    self._release(req, publish=False)
                    self.ended.add(req)
                elif record.kind == "prefill":
                    self._publish(req, req.target)

    def idle(self) -> bool:
        """Nothing computes and nothing was decided: whether nobody is there at all."""
        if self.waiting or self.running.reqs:
            return False
        self.ratio = self.first_ratio
        return True

    # -- what differs

    def _join(self) -> None:
        """As without overlap, but nobody knows yet who ended in the last prefill: all of it joins."""
        if self.begun is not None:
            self._publish(self.begun, self.begun.target)
        if self.last is not None and self.last_was_prefill:
            joining = [req for req in self.last.reqs if req is not self.begun]
            if self.begun in self.last.reqs:
                self.running.full = False
            self.last.reqs = joining
            if joining:
                if self.running.reqs:
                    self.running.reqs += joining
                else:
                    self.running = self.last
        stay = [req for req in self.running.reqs if req not in self.ended]
        if len(stay) < len(self.running.reqs):
            self.running.full = False
        self.running.reqs = stay

    def _compute(self, building: Building) -> NaiveStep:
        batch = building.batch
        self.begun = batch[-1] if batch[-1].target < len(batch[-1].tokens) else None
        demand = sum(count for _, count in building.record.sched)
        self.radix.make_room(demand + (self.size * len(batch) if self.size > 1 else 0))
        for req in batch:
            self.lost.discard(req)
            while len(req.row) < req.target:
                self.radix.allocate(req.row, req.ask.id)
        step = building.record
        record = OverlapStep(step.sched, step.new, step.resumed, kind="prefill")
        self._launch(record, batch, self.begun, len(self.running.reqs) + len(batch))
        self.last, self.last_was_prefill = Batch(list(batch)), True
        return record

    def _decode(self) -> None:
        running, before = self.running, len(self.running.reqs)
        ending = self._ending()
        running.reqs = [req for req in running.reqs if req not in ending]
        if not running.reqs:
            running.full = False
            return
        if not self._next_fits(running.reqs):
            if ending:  # their slots are free soon: wait for them
                running.full = False
                return
            batch = running.reqs
            self.gone += self._retract()
            self.lost.update(req for req in batch if req not in running.reqs)
        else:
            step = (self.first_ratio - self.last_ratio) / 600
            self.ratio = max(self.ratio - step, self.last_ratio)
        if len(running.reqs) < before:
            running.full = False
        if not running.reqs:
            return
        self.radix.make_room(len(running.reqs) * self.size)
        record = OverlapStep([(req.ask.id, 1) for req in running.reqs])
        for req in running.reqs:
            self.radix.allocate(req.row, req.ask.id)
        self._launch(record, running.reqs, None, len(running.reqs))
        self.last, self.last_was_prefill = running, False

    def _ending(self) -> set[Live]:
        """Those that are sure to end with the step that computes: its token is the last they may have."""
        if self.flying is None:
            return set()
        return {req for req in self.flying.batch if req.out + 1 >= req.max_new}

    def _sort_along_the_tree(self) -> None:
        """As without overlap, but in one tree for all salts: below its root, branches by age."""
        ends = [(req, self._match(req, len(req.tokens))) for req in self.waiting]
        roots = list(self.radix.roots.values())
        order: list[Live] = []

        def weight(node: NaiveNode) -> int:
            return sum(end is node for _, end in ends) + sum(weight(child) for child in node.children)

        def visit(children: list[NaiveNode]) -> None:
            for child in sorted(children, key=lambda child: -weight(child)):
                visit(child.children)
                order.extend(req for req, end in ends if end is child)

        visit(sorted((child for root in roots for child in root.children), key=lambda child: child.created))
        order.extend(req for req, end in ends if end in roots)
        self.waiting = order

    def _launch(self, record: OverlapStep, batch: list[Live], cut: Live | None, running: int) -> None:
        self._note(record, self.noted, running)
        self.noted = len(self.radix.evictions)
        self.launched = Flying(record, list(batch), cut)


def run_overlapped(
    engine: NaiveOverlap,
    requests: list[NaiveRequest],
    max_new: dict[str, int],
    duration: Callable[[OverlapStep], float] = lambda step: 1,
) -> list[OverlapStep]:
    """All steps of ``requests``; deciding takes no time."""
    coming, steps, now = list(requests), [], 0.0
    while True:
        while coming and coming[0].arrival <= now:
            request = coming.pop(0)
            engine.add(request, max_new.get(request.id))
        flying = engine.flying
        record = engine.schedule()
        if record is not None:
            record.at, record.start = now, now if flying is None else flying.end
            assert engine.launched is not None
            engine.launched.end = record.start + duration(record)
            steps.append(record)
        if flying is not None:
            now = flying.end
            engine.results(flying)
        elif record is None and engine.idle():
            if not coming:
                return steps
            now = coming[0].arrival
        engine.flying = engine.launched
