"""Faults on demand and rate limits, as the SDKs see them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx
import openai
import pytest

from sim.server.api.errors import ApiError
from sim.server.api.limits import RateLimits
from sim.server.live import Usage
from sim.server.options import Limits
from tests.server.conftest import anthropic_client, openai_client
from tests.server.fake import FakeLive
from tests.server.running import Up, up

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def faulty(engine: Up[FakeLive]) -> Any:
    """Sets the faults of the server; none are left behind."""
    none = engine.client.get("/admin/config").json()["faults"]

    def set_to(**faults: Any) -> None:
        assert engine.client.post("/admin/config", json={"faults": {**none, **faults}}).status_code == 200

    yield set_to
    set_to()


def read(client: openai.OpenAI) -> list[str]:
    with client.chat.completions.create(model="m", messages=HELLO, stream=True) as stream:
        return [chunk.choices[0].delta.content or "" for chunk in stream]


def test_a_cut_connection_is_an_error(chat: openai.OpenAI, engine: Up[FakeLive], faulty: Any) -> None:
    faulty(cut_share=1)
    with pytest.raises(openai.APIConnectionError):
        read(chat)
    with pytest.raises(openai.APIConnectionError):
        chat.chat.completions.create(model="m", messages=HELLO)
    assert [row.cancelled for row in engine.live.rows] == [True, False]


def test_a_truncated_stream_raises_nothing(chat: openai.OpenAI, engine: Up[FakeLive], faulty: Any) -> None:
    faulty(truncated_share=1)
    assert len(read(chat)) == 5
    with (
        anthropic_client(engine) as claude,
        claude.messages.stream(model="m", max_tokens=20, messages=HELLO) as events,
    ):
        kinds = [event.type for event in events]
    assert "message_start" in kinds and "message_stop" not in kinds


def test_a_malformed_event_is_an_error(chat: openai.OpenAI, faulty: Any) -> None:
    faulty(malformed_share=1)
    with pytest.raises(ValueError, match=r"Unterminated string|Expecting"):
        read(chat)
    with pytest.raises((openai.APIError, ValueError)):
        chat.chat.completions.create(model="m", messages=HELLO)


def test_a_stall_is_a_pause(chat: openai.OpenAI, faulty: Any) -> None:
    faulty(stall_share=1, stall_s=0.3)
    before = time.monotonic()
    assert len(read(chat)) == 10
    assert time.monotonic() - before >= 0.3


@pytest.mark.parametrize(
    ("status", "of_openai", "kind"),
    [
        (400, openai.BadRequestError, "invalid_request_error"),
        (429, openai.RateLimitError, "rate_limit_error"),
        (500, openai.InternalServerError, "api_error"),
        (529, openai.InternalServerError, "overloaded_error"),
    ],
)
def test_errors_on_demand(
    chat: openai.OpenAI, engine: Up[FakeLive], faulty: Any, status: int, of_openai: Any, kind: str
) -> None:
    faulty(error_share=1, error_status=status)
    with pytest.raises(of_openai):
        chat.chat.completions.create(model="m", messages=HELLO)
    with anthropic_client(engine) as claude, pytest.raises(anthropic.APIStatusError) as refused:
        claude.messages.create(model="m", max_tokens=1, messages=HELLO)
    body: Any = refused.value.body
    assert (refused.value.status_code, body["error"]["type"]) == (status, kind)


def test_a_share_of_errors_is_that_share(chat: openai.OpenAI, engine: Up[FakeLive], faulty: Any) -> None:
    faulty(error_share=0.3)
    with httpx.Client(base_url=engine.url) as client:
        body = {"model": "m", "prompt": "x", "max_tokens": 1}
        statuses = [client.post("/v1/completions", json=body).status_code for _ in range(200)]
    assert set(statuses) == {200, 500} and 40 <= statuses.count(500) <= 80


def test_a_server_that_still_loads(engine: Up[FakeLive], faulty: Any) -> None:
    faulty(slow_start_s=1000)
    assert engine.client.get("/health").status_code == 503
    with openai_client(engine) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="m", messages=HELLO)


def test_requests_beyond_the_limit_wait() -> None:
    with up(FakeLive, {"limits": {"requests_per_min": 2}}) as server:
        with openai_client(server) as client:
            raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
            assert raw.headers["x-ratelimit-limit-requests"] == "2"
            assert raw.headers["x-ratelimit-remaining-requests"] == "1"
            client.chat.completions.create(model="m", messages=HELLO)
            with pytest.raises(openai.RateLimitError) as refused:
                client.chat.completions.create(model="m", messages=HELLO)
            headers = refused.value.response.headers
            assert 25_000 < int(headers["retry-after-ms"]) <= 30_000 and headers["retry-after"] == "30"
        with anthropic_client(server) as claude, pytest.raises(anthropic.RateLimitError) as refused_too:
            claude.messages.create(model="m", max_tokens=1, messages=HELLO)
        assert refused_too.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_cached_tokens_use_no_input_quota() -> None:
    now = [0.0]
    limits = RateLimits(Limits(input_tokens_per_min=1000), lambda: now[0])
    at = datetime(2026, 11, 28, tzinfo=UTC)
    limits.admit("anthropic")
    limits.charge_prompt(Usage(5000, cached_tokens=4400))
    assert limits.headers("anthropic", at) == {
        "anthropic-ratelimit-input-tokens-limit": "1000",
        "anthropic-ratelimit-input-tokens-remaining": "400",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-28T00:00:36Z",
    }
    limits.charge_prompt(Usage(600, cached_tokens=0))
    with pytest.raises(ApiError) as refused:
        limits.admit("openai")
    assert refused.value.status == 429 and refused.value.headers["x-ratelimit-remaining-tokens"] == "0"
    now[0] = 60.0
    limits.admit("openai")
    counted = RateLimits(Limits(input_tokens_per_min=1000, count_cached_tokens=True), lambda: now[0])
    counted.charge_prompt(Usage(5000, cached_tokens=4400))
    with pytest.raises(ApiError):
        counted.admit("openai")
