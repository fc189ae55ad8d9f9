"""Of a large run a page draws some sessions: what their requests cost, and counts scaled up to all."""

from __future__ import annotations

import numpy as np

from reports import over_time
from sim.providers import bills
from sim.results.sample import DRAWN, drawn, sampled
from tests.reports.conftest import GPU, Build

SYSTEMS = f"""\
  hosted: {{kind: provider, provider: anthropic, model: claude-opus-5}}
  own: {{{GPU}}}
"""


def test_calls_of_a_sample_name_its_requests(build: Build) -> None:
    """Dollars by request are those of the whole run, also when the sample is cut to a window."""
    records = build(SYSTEMS, sessions=20).runs["hosted"].records
    requests = 2 * DRAWN
    chosen = drawn(records.session, requests)
    assert 0 < chosen.sum() < len(records), "some sessions"
    part = sampled(records, requests)
    assert bills.request_usd(part).tolist() == bills.request_usd(records)[chosen].tolist()
    again = sampled(part, requests)
    assert bills.request_usd(again).tolist() == bills.request_usd(part).tolist()


def test_counts_over_time_stand_for_all(build: Build) -> None:
    records = build(SYSTEMS, sessions=20).runs["own"].records
    once, twice = over_time._lines(records), over_time._lines(records, 2.0)
    for panel in ("waiting", "running"):
        assert np.array_equal(2 * once[panel][1], twice[panel][1])
    assert np.array_equal(once["hit rate"][1], twice["hit rate"][1])
