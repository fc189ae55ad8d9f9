"""The clock is SimPy's: processes and resources run in it beside the fleet's callbacks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy

from sim.engine.events import AFTER_REPLICAS, ARRIVAL, FIRST_REPLICA, Clock

Process = Generator[simpy.Event, Any, None]


def test_processes_beside_callbacks() -> None:
    """Two clients of one server, a callback every second; the order at one instant."""
    clock, seen = Clock(), []
    server = simpy.Resource(clock, capacity=1)

    def client(name: str) -> Process:
        with server.request() as turn:
            yield turn
            yield clock.timeout(1.5)
            seen.append((clock.now, name))

    def tick(number: int) -> None:
        seen.append((clock.now_s, f"tick {number}"))
        if number < 3:
            clock.at(number + 1.0, AFTER_REPLICAS, tick, number + 1)

    clock.process(client("a"))
    clock.process(client("b"))
    clock.at(1.0, AFTER_REPLICAS, tick, 1)
    clock.run()
    assert seen == [(1.0, "tick 1"), (1.5, "a"), (2.0, "tick 2"), (3.0, "b"), (3.0, "tick 3")]


def test_as_simpy_runs_it() -> None:
    """The same processes in SimPy's own environment and in ours, also up to a time and to an event."""

    def story(env: simpy.Environment) -> list[Any]:
        seen: list[Any] = []
        store: simpy.Store = simpy.Store(env)

        def producer() -> Process:
            for i in range(4):
                yield env.timeout(0.3)
                yield store.put(i)

        def consumer() -> Process:
            while True:
                item = yield store.get()
                seen.append((env.now, item))
                yield env.timeout(0.5)

        def waiter() -> Process:
            yield env.timeout(1)
            yield made
            seen.append((env.now, "made"))

        made = env.process(producer())
        env.process(consumer())
        env.process(waiter())
        env.run(until=0.7)
        seen.append(env.now)
        env.run(until=made)
        seen.append((env.now, "stopped"))
        env.run(until=3)
        return [*seen, env.now]

    assert story(Clock()) == story(simpy.Environment())


def test_turns() -> None:
    """Whose turn is over in an instant; a new instant begins anew. What is late happens at once."""
    clock, seen = Clock(), []

    def look(name: str) -> None:
        seen.append((name, [clock.is_past(turn) for turn in (ARRIVAL, FIRST_REPLICA, FIRST_REPLICA + 1)]))

    clock.at(1.0, FIRST_REPLICA + 1, look, "second")
    clock.at(1.0, FIRST_REPLICA, look, "first")
    clock.at(2.0, ARRIVAL, lambda _: clock.at(1.5, FIRST_REPLICA, look, "late"))
    clock.run()
    assert seen == [
        ("first", [True, False, False]),
        ("second", [True, True, False]),
        ("late", [True, False, False]),
    ]
    assert clock.now == clock.now_s == 2.0 and clock.peek() == simpy.core.Infinity


def test_failures_end_the_run() -> None:
    """As SimPy's: unless somebody waits for the event and takes it."""
    clock = Clock()

    def failing() -> Process:
        yield clock.timeout(1)
        raise ZeroDivisionError

    def careful(process: simpy.Process) -> Process:
        with pytest.raises(ZeroDivisionError):
            yield process

    clock.process(careful(clock.process(failing())))
    clock.run()
    clock.process(failing())
    with pytest.raises(ZeroDivisionError):
        clock.run()
    with pytest.raises(simpy.core.EmptySchedule):
        clock.step()
