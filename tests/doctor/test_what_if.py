"""What to change: each kind on a log so small that the dollars can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.doctor.examine import examine
from sim.doctor.what_if import WHAT_IFS, price
from sim.doctor.what_if.base import Case, Change, told
from tests.doctor.logs import FIRST, LONG, PLAIN, READ, WRITE, Transcript, billed_file, call

LATER = call(900, 6400, 0, [[1, 100]])
"""Fifteen minutes later: nothing is left of the first call's five minutes."""


def _changes(path: Path, kind: str) -> dict[str, Change]:
    case = Case(examine(path))
    return {change.change: change for change in WHAT_IFS[kind](case)}


def _saved(change: Change, setting: str = "") -> float:
    return sum(change.saved_usd[setting].values())


def test_another_lifetime(tmp_path: Path) -> None:
    """An hour costs 10 instead of 6.25 to write and spares writing the same again."""
    found = _changes(billed_file(tmp_path, [FIRST, LATER]), "lifetimes")
    hour = 6400 * (2 * WRITE - LONG - READ)
    assert _saved(found["lifetime 1h for every call"], "1h") == pytest.approx(hour)
    assert _saved(found["lifetime 5m for every call"], "5m") == 0
    assert _saved(found["of 5m and 1h the better lifetime for each lane"]) == pytest.approx(hour)


def test_the_better_lifetime_is_chosen_lane_by_lane(tmp_path: Path) -> None:
    """A lane whose calls are close together stays at five minutes."""
    close = [FIRST, call(60, 6400, 6400, [[1, 100]])]
    found = _changes(billed_file(tmp_path, [FIRST, LATER], close), "lifetimes")
    hour, dearer = 6400 * (2 * WRITE - LONG - READ), 6400 * (LONG - WRITE)
    assert _saved(found["lifetime 1h for every call"], "1h") == pytest.approx(hour - dearer)
    assert _saved(found["of 5m and 1h the better lifetime for each lane"]) == pytest.approx(hour)


def test_main_threads_and_sub_agents_apart(tmp_path: Path) -> None:
    """An hour where a person pauses, five minutes where an agent does not."""
    close = [FIRST, call(60, 6400, 6400, [[1, 100]])]
    path = billed_file(tmp_path, [FIRST, LATER], close)
    first, second = path.read_text().splitlines()
    path.write_text(first + "\n" + second.replace('{"id"', '{"agent": true, "id"') + "\n")
    found = _changes(path, "lifetimes")["lifetime 1h for main threads, 5m for sub-agents"]
    assert _saved(found) == pytest.approx(6400 * (2 * WRITE - LONG - READ))


def test_keep_warm_pings(tmp_path: Path) -> None:
    """Three pings in 15 minutes: each reads 6,400 tokens, sends 3 plain ones and gets one."""
    found = _changes(billed_file(tmp_path, [FIRST, LATER]), "keep-warm pings")
    ping = 6400 * READ + 3 * PLAIN + 25e-6
    kept = 6400 * (WRITE - READ) - 3 * ping
    open_end, closing = (
        next(change for name, change in found.items() if name.endswith(end))
        for end in ("{}", "none after the last")
    )
    assert _saved(closing, "up to 20 min after a call") == pytest.approx(kept)
    assert _saved(open_end, "up to 20 min after a call") == pytest.approx(kept - 4 * ping)
    assert _saved(closing, "up to 10 min after a call") == pytest.approx(-2 * ping)
    assert closing.kind == "upper bound" and open_end.kind == "client"


def test_compactions_earlier(tmp_path: Path) -> None:
    """Prompts that grow by 20,000 tokens a call, cut to 51,000 at the first one above a size."""
    sizes = [20_000 * i for i in range(1, 7)]
    calls = [
        call(10 * i, size, size - 20_000 if i else 0, [[1, size // 64]]) for i, size in enumerate(sizes)
    ]
    found = _changes(billed_file(tmp_path, calls), "compactions")
    earlier = next(change for name, change in found.items() if name.startswith("more"))
    # Above 100,000 comes one call, of 120,000: the history is read for a summary and 51,000 written anew.
    extra = 100_000 * READ + 3 * PLAIN + 25e-6 + 51_000 * WRITE
    assert _saved(earlier, "100,000") == pytest.approx(100_000 * READ + 20_000 * WRITE - extra)
    assert earlier.kind == "other answers"


def test_compactions_later(tmp_path: Path) -> None:
    """Without the recorded compaction the next prompts are longer, and nothing is written anew."""
    calls = [
        FIRST | {"in": 128_000, "hash_runs": [[1, 2000]]},
        call(60, 64_000, 0, [[5000, 1000]], how="compact_boundary"),
        call(70, 64_000, 64_000, [[5000, 1000]]),
    ]
    calls[0]["billed"] = {"input": 3, "write_5m": 128_000, "write_1h": 0, "read": 0}
    found = _changes(billed_file(tmp_path, calls), "compactions")
    later = next(change for name, change in found.items() if name.startswith("fewer"))
    summary = 128_000 * READ + 3 * PLAIN + 25e-6
    recorded = summary + 64_000 * WRITE + 64_000 * READ
    assert _saved(later, "190,000") == pytest.approx(recorded - 2 * 128_000 * READ)


def test_a_head_that_is_kept_for_an_hour(tmp_path: Path) -> None:
    """A head of 3,200 tokens that others wrote: after the pause it is read, not written."""
    first = call(0, 6400, 3200, [[1, 100]], how="first")
    found = _changes(billed_file(tmp_path, [first, LATER]), "marks")
    head = next(change for name, change in found.items() if "head" in name)
    assert _saved(head) == pytest.approx(3200 * (WRITE - READ))
    alone = _changes(billed_file(tmp_path, [FIRST]), "marks")["no marks in lanes of one call"]
    assert _saved(alone) == pytest.approx(6400 * (WRITE - PLAIN))
    nothing = _changes(billed_file(tmp_path, [FIRST, LATER]), "marks")["no caching at all"]
    assert _saved(nothing) == pytest.approx(2 * 6400 * (WRITE - PLAIN))


def test_parts_that_change_stand_last(tmp_path: Path) -> None:
    """Another tool list before the same long message: about that message's tokens could be read."""
    rows = []
    for minute, tools in ((0, "one"), (1, "another")):
        sent = {"model": "claude-opus-4-5", "tools": [{"name": tools}]}
        body = sent | {"messages": [{"role": "user", "content": "long " * 6000}]}
        usage = {"input_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 7500}
        reply = {"content": [{"type": "text", "text": "yes"}], "role": "assistant", "usage": usage}
        rows.append(
            {
                "timestamp": f"2026-02-03T10:0{minute}:00Z",
                "session_id": "s",
                "request": body,
                "response": reply,
            }
        )
    path = _json_lines(tmp_path, rows)
    found = examine(path, "anthropic_messages")
    assert [judged.cause for judged in found.calls] == ["first_call", "tools_changed"]
    (change,) = _changes(path, "order of parts").values()
    assert _saved(change) == pytest.approx(7500 * (WRITE - READ), rel=0.01)


def test_one_item_of_a_batch_first(tmp_path: Path) -> None:
    """Two requests with one long opening, sent together: the second could have read it."""
    rows = []
    for second, question in ((0, "a"), (1, "b")):
        messages = [
            {"role": "system", "content": "rules " * 5000},
            {"role": "user", "content": question},
        ]
        usage = {"input_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 7500}
        rows.append(
            {
                "timestamp": f"2026-02-03T10:00:0{second}Z",
                "ended_at": f"2026-02-03T10:00:1{second}Z",
                "session_id": question,
                "request": {"model": "claude-opus-4-5", "messages": messages},
                "response": {"content": [{"type": "text", "text": "yes"}], "usage": usage},
            }
        )
    (change,) = _changes(_json_lines(tmp_path, rows), "batches").values()
    assert _saved(change) == pytest.approx(7500 * (WRITE - READ), rel=0.01)


def _json_lines(folder: Path, rows: list[dict[str, Any]]) -> Path:
    import json

    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_other_providers_and_own_gpus(tmp_path: Path) -> None:
    """Two calls a minute apart: an append at OpenAI's prices; a GPU is paid for the hour."""
    path = billed_file(tmp_path, [FIRST, call(60, 12_800, 6400, [[1, 200]])])
    billed = sum(judged.billed_usd for judged in examine(path).calls)
    at = {name.split(",")[0]: change for name, change in _changes(path, "other providers").items()}
    assert "anthropic" not in at and {"openai", "deepseek", "bedrock"} <= at.keys()
    bedrock = sum(at["bedrock"].saved_usd["explicit"].values())
    # The same rules at the prices of another model; the three tokens behind the last mark are left out.
    assert bedrock == pytest.approx(billed - 12_800 * 6.25e-6 * 1.1 - 6400 * 0.5e-6 * 1.1, rel=1e-3)
    own = next(iter(_changes(path, "own GPUs").values()))
    assert _saved(own, "in the hours with calls") == pytest.approx(billed - 3.5)


def test_intervals_know_of_the_choice(tmp_path: Path) -> None:
    """Two settings that each suit one of two sessions: the best of a resample is never worse."""
    case = Case(examine(billed_file(tmp_path, [FIRST], [FIRST])))
    one, other = case.sessions
    change = Change("at {}", {"a": {one: 3.0, other: 0.0}, "b": {one: 0.0, other: 4.0}})
    found = told(case, change)
    assert (found["change"], found["usd"]) == ("at b", 4.0)
    assert found["interval"] == (4.0, 8.0)


def test_one_session_has_no_interval_and_transcripts_go_all_the_way(tmp_path: Path) -> None:
    transcript = Transcript().ask(0, "hello").reply(5, 0, 6400, "a", "b", "c").ask(900, "more")
    path = transcript.reply(905, 0, 6500, "d").write(tmp_path / "s.jsonl")
    found = price(examine(path))
    assert all(one["interval"] is None for one in found)
    assert [one["usd"] for one in found] == sorted((one["usd"] for one in found), reverse=True)
    best = next(one for one in found if one["kind"] == "client")
    assert best["change"] == "no caching at all", "two writes that nobody reads"
