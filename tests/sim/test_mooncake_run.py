"""The Mooncake conversation trace through configs/mooncake.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim import Result, load_config, run


@pytest.fixture(scope="module")
def result(root: Path, mooncake_file: Path) -> Result:
    return run(load_config(root / "configs/mooncake.yaml", [f"workload.path={mooncake_file}"]))


def test_published_hits(result: Result) -> None:
    """105,710 of 288,500 blocks hit in an infinite cache, 93,978 with 30,000 blocks."""
    systems = result.summary()["systems"]
    infinite, small = systems["replay-inf"]["cache"], systems["replay-30k"]["cache"]
    assert infinite["prefix_cache_queries_blocks"] == small["prefix_cache_queries_blocks"] == 288_500
    assert infinite["prefix_cache_hits_blocks"] == 105_710
    assert infinite["prefix_cache_hits_tokens"] == 54_098_411
    assert small["prefix_cache_hits_blocks"] == 93_978
    assert small["prefix_cache_hits_tokens"] == 48_093_740


def test_fleet_serves_every_request(result: Result) -> None:
    """All 12,031 requests finish, with full records; 4 replicas see a quarter each."""
    summary: Any = result.summary()["systems"]["fleet"]
    assert (summary["completed"], summary["failed"]) == (12_031, 0)
    assert summary["total_input_tokens"] == 144_793_823
    assert summary["total_output_tokens"] == 4_122_048
    records = result.runs["fleet"].records
    assert [int((records.replica == number).sum()) for number in range(4)] == [3008, 3008, 3008, 3007]
    assert summary["engine_iterations"] > 0


def test_block_cache_finds_no_more_than_the_ids_allow(result: Result) -> None:
    """With blocks of 16 no request hits more than its leading ids known to an infinite cache."""
    infinite = result.runs["replay-inf"].records.cache_read_input_tokens
    blocks = result.runs["blocks-16"].records.cache_read_input_tokens
    assert (blocks <= infinite).all()
    assert int(blocks.sum()) == 48_017_616  # measured here first, 2026-11: a regression guard
