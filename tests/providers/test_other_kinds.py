"""Rules of grids, units, chance, cache objects and routing. Each test fails without its rule."""

from __future__ import annotations

import pytest

from sim.providers.schema import Routing
from sim.providers.serve import HostedTimes
from tests.providers.script import SLOW, made, read, rules, script, send, written
from workloads.errors import InputError

OPUS5 = rules("anthropic", "claude-opus-5")
GPT5 = rules("openai", "gpt-5", lifetimes=made("grid").lifetimes)


def test_grid_rounds_down_and_needs_the_minimum() -> None:
    """2,006 tokens are found as 1,920; 1,023 shared tokens are not found, 1,024 are."""
    done = send(script({"a": 2006, "b": 7}, ("a", 0), ("a b", 60)), GPT5)
    assert read(done) == [0, 1920]
    for shared, found in ((1023, 0), (1024, 1024), (1151, 1024), (1152, 1152)):
        trace = script({"a": shared, "b": 500, "c": 600}, ("a b", 0), ("a c", 60))
        assert read(send(trace, GPT5)) == [0, found]


def test_grid_of_gpt_5_5() -> None:
    """Boundaries every 2,048 tokens."""
    five = rules("openai", "gpt-5.5", lifetimes=made("grid").lifetimes)
    assert read(send(script({"a": 5000}, ("a", 0), ("a", 60)), five)) == [0, 4096]


def test_grid_finds_any_stored_prefix_without_marks() -> None:
    """Another conversation shares the head only, and it is found although no entry ends there."""
    trace = script({"a": 1500, "b": 500, "c": 600}, ("a b", 0), ("a c", 60))
    assert read(send(trace, GPT5)) == [0, 1408]


def test_free_writes_are_not_counted_and_paid_ones_are() -> None:
    trace = script({"a": 2560, "b": 100}, ("a", 0), ("a b", 60))
    assert written(send(trace, rules("openai", "gpt-5"))) == [0, 0]
    assert written(send(trace, rules("kimi", "kimi-k3"))) == [2560, 100]
    assert written(send(trace, rules("kimi", "kimi-k3"), ttl="1h"), 1) == [2560, 100]


def test_idle_lifetime_and_its_cap() -> None:
    """in_memory: 300 to 600 s idle, drawn; never longer than an hour after the first write."""
    pairs = [(f"a{i}", float(at)) for i in range(60) for at in (0, 450)]
    old = rules("openai", "gpt-5")
    found = read(send(script({f"a{i}": 1280 for i in range(60)}, *pairs), old, ttl="in_memory"))
    assert 15 < found.count(1280) < 45
    for gap, count in ((299, 60), (601, 0)):
        pairs = [(f"a{i}", float(at)) for i in range(60) for at in (0, gap)]
        found = read(send(script({f"a{i}": 1280 for i in range(60)}, *pairs), old, ttl="in_memory"))
        assert found.count(1280) == count
    every_four_minutes = [("a", 240.0 * i) for i in range(17)]
    found = read(send(script({"a": 1280}, *every_four_minutes), old, ttl="in_memory"))
    assert [i for i, tokens in enumerate(found) if not tokens] == [0, 15]  # at 3,600 s it is gone


def test_unit_is_found_whole_or_not_at_all() -> None:
    """DeepSeek: A+B then A+B+C hits on the second request; A+B, A+C, A+D on the third only."""
    deepseek = rules("deepseek", "deepseek-v4-pro")
    lengths = dict.fromkeys("abcd", 300)
    assert read(send(script(lengths, ("a b", 0), ("a b c", 60)), deepseek)) == [0, 600]
    assert read(send(script(lengths, ("a b", 0), ("a c", 60), ("a d", 120)), deepseek)) == [0, 0, 300]
    never = deepseek.model_copy(update={"common_prefix_after": None})
    assert read(send(script(lengths, ("a b", 0), ("a c", 60), ("a d", 120)), never)) == [0, 0, 0]
    third = deepseek.model_copy(update={"common_prefix_after": 3})
    trace = script(lengths | {"e": 300}, ("a b", 0), ("a c", 60), ("a d", 120), ("a e", 180))
    assert read(send(trace, third)) == [0, 0, 0, 300]


def test_unit_at_the_end_of_the_output() -> None:
    """The next turn finds the reply too; without that rule only the prompt before it."""
    deepseek = rules("deepseek", "deepseek-v4-pro")
    trace = script({"a": 300, "r": 50, "b": 20}, ("a > r", 0), ("a r b", 60))
    assert read(send(trace, deepseek)) == [0, 350]
    assert read(send(trace, deepseek.model_copy(update={"unit_at_reply_end": False}))) == [0, 300]


def test_unit_minimum_and_interval() -> None:
    """Under 64 tokens nothing is stored; with an interval the units between are found as well."""
    deepseek = rules("deepseek", "deepseek-v4-pro")
    assert read(send(script({"a": 63}, ("a", 0), ("a", 60)), deepseek)) == [0, 0]
    assert read(send(script({"a": 64}, ("a", 0), ("a", 60)), deepseek)) == [0, 64]
    every = deepseek.model_copy(update={"interval_tokens": 64})
    trace = script({"a": 150, "b": 90, "c": 90}, ("a b", 0), ("a c", 60))
    assert read(send(trace, every)) == [0, 128]


def test_a_read_keeps_a_unit() -> None:
    """Found again at 400 s although 300 s are its lifetime: it was read at 200 s."""
    trace = script(dict.fromkeys("abcd", 300), ("a b", 0), ("a b c", 200), ("a b d", 400))
    assert read(send(trace, made("unit"))) == [0, 600, 600]
    assert read(send(trace, made("unit", refresh_on_read=False))) == [0, 600, 0]


def test_unit_lifetime_counts_from_the_end_of_the_response() -> None:
    deepseek = rules("deepseek", "deepseek-v4-pro", lifetimes=made("unit").lifetimes)
    trace = script({"a": 300}, ("a", 0), ("a", 399), ("a", 798), reply=100)  # replies take 100 s
    assert read(send(trace, deepseek, SLOW)) == [0, 300, 300]
    from_start = deepseek.model_copy(update={"clock": "request_start"})
    assert read(send(trace, from_start, SLOW)) == [0, 0, 0]


def test_chance() -> None:
    """Implicit hits with a probability: all, none, about half of two hundred."""
    lengths = {f"a{i}": 5000 for i in range(200)}
    trace = script(lengths, *((f"a{i}", float(at)) for i in range(200) for at in (0, 60)))
    for probability, low, high in ((1.0, 200, 200), (0.0, 0, 0), (0.5, 75, 125)):
        luck = rules("gemini", "gemini-3.8-flash", hit_probability=probability)
        assert low <= read(send(trace, luck)).count(5000) <= high


@pytest.mark.parametrize(("model", "minimum"), [("gemini-2.5-pro", 2048), ("gemini-3.8-flash", 4096)])
def test_implicit_minimum(model: str, minimum: int) -> None:
    for length, found in ((minimum - 1, 0), (minimum, minimum)):
        trace = script({"a": length}, ("a", 0), ("a", 60))
        assert read(send(trace, rules("gemini", model))) == [0, found]


def test_object_is_made_once_an_hour_and_rented() -> None:
    """Fixed from its making, not extended by reads; it serves the request that it is made for."""
    explicit = rules("gemini", "gemini-3.1-pro-preview", "explicit")
    lengths = {"system": 100_000, **{f"u{i}": 1000 for i in range(4)}}
    times = (0, 1800, 3599, 3600)
    done = send(
        script(lengths, *((f"system u{i}", at) for i, at in enumerate(times))), explicit, marks="system"
    )
    assert read(done) == [100_000] * 4
    assert done.found.created_tokens == [100_000, 0, 0, 100_000]
    assert done.found.storage_s == [3600, 0, 0, 3600]
    assert written(done) == [0] * 4


def test_object_minimum() -> None:
    """A prefix that is too short is not made into an object, and not rented."""
    for length, created in ((2047, 0), (2048, 2048)):
        trace = script({"system": length, "u": 5}, ("system u", 0))
        done = send(trace, made("object", min_tokens=2048), marks="system")
        assert read(done) == done.found.created_tokens == [created]
        assert done.found.storage_s == [300.0 if created else 0.0]


def test_object_holds_one_prefix() -> None:
    explicit = rules("gemini", "gemini-3.1-pro-preview", "explicit")
    with pytest.raises(InputError, match="a cache object holds one prefix; allowed: system, last"):
        send(script({"a": 5}, ("a", 0)), explicit, marks="window")


def _busy(requests: int, gap_s: float, **more: object) -> list[tuple[str, float]]:
    return [("a", gap_s * i) for i in range(requests)]


def _misses(done: HostedTimes) -> int:
    return read(done).count(0)


def test_routing_overflow_lands_on_a_cold_machine() -> None:
    """15 requests a minute stay on one machine; more go to further ones, each with a miss of its own."""
    routed = rules("openai", "gpt-5")
    routed = routed.model_copy(update={"routing": _routing()})
    calm = send(script({"a": 1280}, *_busy(60, 4.0)), routed)
    assert (_misses(calm), calm.overflows) == (1, 0)
    hot = send(script({"a": 1280}, *_busy(60, 1.5)), routed)  # 40 a minute: three machines
    assert _misses(hot) == 3
    assert hot.overflows > 0
    crowd = script({"a": 1280}, *_busy(46, 1.0))  # 15, 15, 15 and one on a fourth machine
    assert send(crowd, routed).overflows == 31
    unrouted = routed.model_copy(update={"routing": None})
    assert _misses(send(script({"a": 1280}, *_busy(60, 1.5)), unrouted)) == 1


def _routing(**changed: object) -> Routing:
    from sim.providers import rulebook

    shipped = rulebook.record("openai", "gpt-5", "automatic", "x").routing
    assert shipped is not None
    return shipped.model_copy(update=changed)


def test_keys_are_machines_of_their_own() -> None:
    """A key per request never hits; a key per session shares nothing between sessions."""
    routed = rules("openai", "gpt-5").model_copy(update={"routing": _routing()})
    trace = script({"a": 1280}, *_busy(10, 10.0))
    assert _misses(send(trace, routed, key="request")) == 10
    assert _misses(send(trace, routed, key="none")) == 1
    sessions = script({"a": 1280}, *_busy(10, 10.0))
    sessions.session = [0, 1] * 5
    assert _misses(send(sessions, routed, key="session")) == 2
    sessions.session, sessions.tenant = list(range(10)), [0, 1, 2, 0, 1] * 2
    assert _misses(send(sessions, routed, key="tenant")) == 3


def test_budget_per_key_or_per_prefix_and_key() -> None:
    """Two prefixes at 12 requests a minute each: together they exceed the budget of one key."""
    trace = script({"a": 1280, "b": 1280}, *((name, 5.0 * i) for i in range(24) for name in "ab"))
    per_prefix = rules("openai", "gpt-5").model_copy(update={"routing": _routing()})
    assert send(trace, per_prefix).overflows == 0
    per_key = per_prefix.model_copy(update={"routing": _routing(budget="key")})
    assert send(trace, per_key).overflows > 0


def test_prefix_that_routes() -> None:
    """Requests that part within the first 256 tokens go to different machines and share no budget."""
    lengths = {"head": 200, "x": 1280, "y": 1280, "long": 300}
    apart = [(f"head {name}", 3.0 * i) for i in range(20) for name in "xy"]
    routed = rules("openai", "gpt-5").model_copy(update={"routing": _routing(rpm=25)})
    assert send(script(lengths, *apart), routed).overflows == 0
    together = [(f"long {name}", 3.0 * i) for i in range(20) for name in "xy"]
    assert send(script(lengths, *together), routed).overflows > 0
    for shared, meet in ((255, False), (256, True)):
        edge = script(lengths | {"head": shared}, *apart)
        assert (send(edge, routed).overflows > 0) is meet


def test_follow_ups_come_after_the_reply() -> None:
    """Closed loop: think time counts from the last token of the reply, as in an engine."""
    from workloads.content import ROOT
    from workloads.trace import Trace

    trace = Trace(messages=True)
    first = trace.add(prompt=trace.content.append(ROOT, 1000), output_tokens=10, arrival_s=5.0)
    trace.add(prompt=trace.content.append(trace.reply[0], 50), output_tokens=3, follows=first, think_s=7.0)
    done = send(trace, OPUS5, SLOW)
    assert done.first_token_s[0] == 6.0
    assert done.finished_s[0] == 15.0
    assert done.arrival_s[1] == 22.0
    assert done.finished_s[1] == 25.0


def test_sessions_wait_for_a_place() -> None:
    """Closed loop, one at a time: the next session starts when the reply is complete (3 tokens: 3 s)."""
    trace = script({"a": 1000}, ("a", 0), ("a", 0), ("a", 0), reply=3)
    trace.session, trace.concurrency = [0, 1, 2], 1
    assert send(trace, OPUS5, SLOW).arrival_s == [0, 3, 6]
    trace.concurrency = 2
    assert send(trace, OPUS5, SLOW).arrival_s == [0, 0, 3]


def test_times_of_a_cached_prompt() -> None:
    """Base, uncached and cached tokens each have their price in seconds; noise is a factor of the seed."""
    from sim.providers.latency import HostedLatency

    trace = script({"a": 1000, "b": 100}, ("a", 0), ("a b", 60))
    line = HostedLatency(
        base_s=1, per_uncached_token_s=0.01, per_cached_token_s=0.001, hit_base_s=0.5, tpot_s=0
    )
    done = send(trace, OPUS5, line)
    assert done.first_token_s == pytest.approx([11.0, 60 + 1 + 1.0 + 0.5 + 1.0])
    # Who makes an object computes all of it; who finds it does not.
    objects = script({"system": 1000, "u": 100}, ("system u", 0), ("system u", 60))
    made_first = send(objects, made("object"), line, marks="system")
    assert made_first.first_token_s == pytest.approx([1 + 11.0, 60 + 1 + 1.0 + 0.5 + 1.0])
    noisy = send(trace, OPUS5, line.model_copy(update={"noise": 0.2}))
    assert noisy.first_token_s != done.first_token_s
    again = send(trace, OPUS5, line.model_copy(update={"noise": 0.2}))
    assert noisy.first_token_s == again.first_token_s


def test_grid_writes_nothing_below_the_minimum() -> None:
    """A prompt too short to be stored is plain input, where writes are counted."""
    assert written(send(script({"a": 255, "b": 256}, ("a", 0), ("b", 60)), rules("kimi", "kimi-k3"))) == [
        0,
        256,
    ]


def test_grid_without_refresh() -> None:
    trace = script({"a": 1280}, ("a", 0), ("a", 200), ("a", 400))
    assert read(send(trace, made("grid"))) == [0, 1280, 1280]
    assert read(send(trace, made("grid", refresh_on_read=False))) == [0, 1280, 0]


@pytest.mark.parametrize("mode", ["explicit", "automatic"])
def test_of_two_writers_the_later_clock_counts(mode: str) -> None:
    """Two cold requests write the same entry: readable after the first reply, kept from the last one on."""
    trace = script(
        {"a": 1500, "long": 10, "short": 1}, ("a > long", 0), ("a > short", 1), ("a > short", 2), ("a", 305)
    )
    alone = script({"a": 1500, "short": 1}, ("a > short", 1), ("a", 305))
    late = rules("qwen", "qwen3-max", mode, refresh_on_read=False, clock="response_end")
    assert read(send(trace, late, SLOW)) == [0, 0, 1500, 1500]
    assert read(send(alone, late, SLOW)) == [0, 0]
