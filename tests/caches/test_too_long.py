"""Requests that are longer than the cache: they find nothing, leave nothing, and are counted."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from pydantic import TypeAdapter

from sim import load_config, run
from sim.caches import CacheConfig
from sim.caches.base import Served, too_long
from tests.caches.cases import QUICK, request_lists, trace_of
from tests.oracles.naive_vllm import NaiveRequest

CAPACITY = 6
"""Tokens, of prompts and replies of up to nine tokens each."""
CACHES: dict[str, tuple[dict[str, Any], int]] = {
    "vllm": ({"kind": "block", "block_size": 2, "capacity_blocks": CAPACITY // 2}, 2),
    "belady": (
        {"kind": "block", "block_size": 1, "capacity_blocks": CAPACITY, "eviction": "belady"},
        1,
    ),
    "two groups": (
        {"kind": "block", "block_size": 1, "capacity_blocks": 2 * CAPACITY, "groups": ["full", "swa:99"]},
        1,
    ),
    "sglang": ({"kind": "radix", "page_size": 2, "capacity_tokens": CAPACITY + 1}, 2),
    "sglang, windows": ({"kind": "radix_swa", "window": 99, "capacity_tokens": CAPACITY}, 1),
    "sglang, states": ({"kind": "radix_mamba", "capacity_tokens": CAPACITY}, 1),
    "tiers": (
        {
            "kind": "tiered",
            "block_size": 2,
            "tiers": [{"name": "gpu", "capacity_blocks": CAPACITY // 2}, {"name": "host"}],
        },
        2,
    ),
}
"""What holds ``CAPACITY`` tokens in one request, and in what pieces it counts them."""


def _served(config: Any, requests: list[NaiveRequest]) -> list[Served]:
    cache = config.replay(trace_of(requests), "cache")
    out = []
    for i in range(len(requests)):
        out.append(cache.serve(i, float(i)))
        cache.check()
    return out


@pytest.mark.parametrize("name", CACHES)
@QUICK
@given(requests=request_lists(fewest=2))
def test_the_others_are_served_as_if_they_were_not_there(name: str, requests: list[NaiveRequest]) -> None:
    """The last token of a reply takes no room; a piece that is begun takes all of its own."""
    options, piece = CACHES[name]
    config: Any = TypeAdapter(CacheConfig).validate_python(options)
    held = [ceil((len(r.prompt) + len(r.output) - 1) / piece) * piece for r in requests]
    short = [request for request, tokens in zip(requests, held, strict=True) if tokens <= CAPACITY]
    served = _served(config, requests)
    assert [s for s, tokens in zip(served, held, strict=True) if tokens <= CAPACITY] == (
        _served(config, short) if short else []
    )
    for request, tokens, found in zip(requests, held, served, strict=True):
        if tokens > CAPACITY:
            assert found == Served(0, 0, len(request.prompt) // piece)
    assert too_long(config, trace_of(requests)) == len(requests) - len(short)


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_no_request_fits(capacity: int) -> None:
    """Less than a page of SGLang's is no room at all."""
    config: Any = TypeAdapter(CacheConfig).validate_python(
        {"kind": "radix", "page_size": 4, "capacity_tokens": capacity}
    )
    served = _served(config, [NaiveRequest("a", [0, 1], [1]), NaiveRequest("b", [0, 1], [1])])
    assert served == [Served(0, 0, 0)] * 2


def test_what_the_reader_is_told(tmp_path: Path) -> None:
    """A note of the system, of a tenant's part too, and of a cache beside an engine's memory."""
    log = [("t0", 128, 10), ("t1", 64, 10), ("t0", 64, 10), ("t0", 64, 10)]
    with (tmp_path / "log.jsonl").open("w") as file:
        for i, (tenant, tokens, output) in enumerate(log):
            row = {"id": str(i), "arrival": i, "cache_salt": tenant}
            row |= {"tokens": [7] * tokens, "output_tokens": [8] * output}
            file.write(json.dumps(row) + "\n")
    block = {"kind": "block", "block_size": 16, "capacity_blocks": 8}
    radix = {"kind": "radix", "capacity_tokens": 128}
    config = {
        "name": "x",
        "workload": {"kind": "trace", "format": "tokens", "path": "log.jsonl"},
        "systems": {
            "shared": {"kind": "cache", "cache": block},
            "split": {"kind": "cache", "cache": block | {"capacity_blocks": 16}, "tenants": "partitioned"},
            "split-small": {"kind": "cache", "cache": block, "tenants": "partitioned"},
            "beside": {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "cache": radix},
        },
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    systems = run(load_config(tmp_path / "x.yaml")).summary()["systems"]
    said = {
        name: [note for note in entry["notes"] if note.startswith("too long for the cache")]
        for name, entry in systems.items()
    }
    assert {name: [note.split(",")[0] for note in notes] for name, notes in said.items()} == {
        "shared": ["too long for the cache: 1 of 4 requests"],
        "split": ["too long for the cache: 1 of 4 requests"],
        "split-small": ["too long for the cache: 4 of 4 requests"],
        "beside": ["too long for the cache: 1 of 4 requests"],
    }
    assert systems["shared"]["completed"] == 4
    assert systems["shared"]["cache"]["prefix_cache_hits_tokens"] == 48
    assert systems["split-small"]["cache"]["prefix_cache_hits_tokens"] == 0


def test_belady_does_not_wait_for_a_request_that_is_too_long() -> None:
    """Of a and b the long request would have used a first; as it finds nothing, b is worth more."""
    config: Any = TypeAdapter(CacheConfig).validate_python(
        {"kind": "block", "block_size": 1, "capacity_blocks": 4, "eviction": "belady"}
    )
    a, b, c = [1, 1], [2, 2], [3, 3]
    prompts = [a, b, c, [*a, 4, 4, 4], b, a]
    served = _served(config, [NaiveRequest(str(i), prompt, [5]) for i, prompt in enumerate(prompts)])
    assert [found.hit_tokens for found in served[:5]] == [0, 0, 0, 0, 1]
