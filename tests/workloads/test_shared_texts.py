"""Generators whose prompts share texts: retrieval, batches, long documents."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sim.caches.ideal import IdealConfig
from tests.chats import common
from workloads.checking import check
from workloads.popularity import drawn_sets, zipf_shares
from workloads.registry import WorkloadConfig
from workloads.seeds import stream
from workloads.trace import NONE, Trace

RAG: dict[str, Any] = {
    "kind": "rag", "sessions": 8, "arrival": {"rate_per_s": 1}, "turns": 4, "think_time_s": 3,
    "retrieved": 2, "documents": {"count": 4, "tokens": {"distribution": "uniform", "low": 3, "high": 9}},
    "system_prompt": {"tokens": 6}, "user_tokens": {"distribution": "uniform", "low": 1, "high": 5},
    "reply_tokens": 4,
}  # fmt: skip


def _build(config: dict[str, Any], seed: int = 1) -> Trace:
    trace: Trace = TypeAdapter[Any](WorkloadConfig).validate_python(config).build(seed, Path())
    check(trace)
    check(trace.by_message)
    return trace


def _written_out(trace: Trace, config: dict[str, Any], seed: int) -> list[list[Any]]:
    """Every prompt token by token, from the draws and what the settings mean."""
    workload = TypeAdapter[Any](WorkloadConfig).validate_python(config)
    sets = drawn_sets(stream(seed, "retrieved"), zipf_shares(4, workload.documents.zipf), len(trace), 2)
    lengths = workload.documents.lengths(seed, "documents")
    users = [round(n) for n in workload.user_tokens.sample(stream(seed, "user"), len(trace)).tolist()]
    prompts: list[list[Any]] = []
    history: list[Any] = []
    for request in range(len(trace)):
        if trace.turn[request] == 1:
            history = []
        found = sorted(sets[request]) if workload.order == "fixed" else sets[request]
        documents = [("document", one, i) for one in found for i in range(lengths[one])]
        question = [("user", request, i) for i in range(max(1, users[request]))]
        head = [("system", i) for i in range(6)]
        order = [documents, history] if workload.place == "before" else [history, documents]
        prompts.append([*head, *order[0], *order[1], *question])
        history = [*history, *(documents if workload.kept else []), *question]
        history += [("reply", request, i) for i in range(4)]
    return prompts


@pytest.mark.parametrize("order", ["retrieved", "fixed"])
@pytest.mark.parametrize(("place", "kept"), [("before", False), ("after", False), ("after", True)])
def test_rag_against_prompts_that_are_written_out(place: str, kept: bool, order: str) -> None:
    """Common prefixes of all pairs, and what an ideal cache finds."""
    for seed in range(5):
        config = RAG | {"place": place, "kept": kept, "order": order}
        trace = _build(config, seed)
        prompts = _written_out(trace, config, seed)
        assert trace.input_tokens == [len(prompt) for prompt in prompts]
        paths = [trace.content.path(prompt) for prompt in trace.prompt]
        for one, other in combinations(range(len(trace)), 2):
            both = set(paths[one]) & set(paths[other])
            shared = max((trace.content.end[node] for node in both), default=0)
            assert shared == common(prompts[one], prompts[other])
        cache, known = IdealConfig(kind="ideal").replay(trace, "cache"), list[list[Any]]()
        for at, request in trace.instant_order():
            expected = max((common(prompts[request], text) for text in known), default=0)
            assert cache.serve(request, at).hit_tokens == expected
            known.append(prompts[request] + [("reply", request, i) for i in range(4)])


def test_popular_documents_are_retrieved_more_often() -> None:
    """With the default exponent 3 % of 1,000 documents are 62 % of what single-document questions find."""
    config = {"kind": "rag", "sessions": 4000, "arrival": {"rate_per_s": 1}, "turns": 1, "retrieved": 1}
    trace = _build(config)
    count = Counter(trace.content.parent[prompt] for prompt in trace.prompt)
    top = sum(many for _, many in count.most_common(30))
    assert top / len(trace) == pytest.approx(0.62, abs=0.03)


BATCH: dict[str, Any] = {
    "kind": "batch", "sessions": 60, "arrival": {"concurrency": 4}, "input_tokens": 5, "output_tokens": 2,
    "templates": {"count": 3, "tokens": 100, "zipf": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(("order", "changes"), [("grouped", 2), ("in_turn", 59), ("mixed", None)])
def test_batches(order: str, changes: int | None) -> None:
    """Templates come together, in turn, or as drawn; each input is new."""
    trace = _build(BATCH | {"order": order})
    heads = [trace.content.parent[prompt] for prompt in trace.prompt]
    assert len(set(heads)) == 3 and len(set(trace.prompt)) == 60
    found = sum(a != b for a, b in pairwise(heads))
    assert found == changes if changes is not None else 20 < found < 55


def test_long_documents() -> None:
    """Every document is content of its own, shared by its readers; turns go on behind it."""
    trace = _build({"kind": "long_documents", "sessions": 100, "arrival": {"rate_per_s": 1}})
    heads = [trace.content.path(prompt)[0] for prompt in trace.prompt]
    assert len(set(heads)) == 8 and {trace.content.end[head] for head in heads} == {20_000}
    assert len(trace) == 200
    for request, after in enumerate(trace.follower):
        if after != NONE:
            assert trace.content.parent[trace.prompt[after]] == trace.reply[request]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retrieved": 5}, "retrieved = 5; allowed: up to documents.count"),
        ({"place": "before", "kept": True}, "kept goes with place: after"),
        ({"system_prompt": {"tokens": 5, "shared_by": "none"}}, "allowed: all, tenant, session"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    """Each is named with what is allowed."""
    with pytest.raises(ValidationError, match=said):
        _build(RAG | changes)
