"""Servers and clients that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.server.fake import FakeLive
from tests.server.running import Up, up


@pytest.fixture(scope="module")
def engine_server() -> Iterator[Up[FakeLive]]:
    with up(FakeLive) as server:
        yield server


@pytest.fixture(scope="module")
def hosted_server() -> Iterator[Up[FakeLive]]:
    with up(lambda: FakeLive(kind="provider")) as server:
        yield server


@pytest.fixture
def engine(engine_server: Up[FakeLive]) -> Up[FakeLive]:
    """A server in front of an engine that answers at once, with nothing in its cache."""
    engine_server.live.forget()
    return engine_server


@pytest.fixture
def hosted(hosted_server: Up[FakeLive]) -> Up[FakeLive]:
    """A server in front of a hosted API: it knows what was written to the cache."""
    hosted_server.live.forget()
    return hosted_server


@pytest.fixture
def chat(engine: Up[FakeLive]) -> Iterator[openai.OpenAI]:
    with openai_client(engine) as client:
        yield client


@pytest.fixture
def claude(hosted: Up[FakeLive]) -> Iterator[anthropic.Anthropic]:
    with anthropic_client(hosted) as client:
        yield client


def openai_client(server: Up[Any], key: str = "none") -> openai.OpenAI:
    plain = openai.DefaultHttpxClient(verify=False)  # no certificates are read
    return openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=20, http_client=plain
    )


def anthropic_client(server: Up[Any], key: str = "none") -> anthropic.Anthropic:
    plain = anthropic.DefaultHttpxClient(verify=False)
    return anthropic.Anthropic(
        base_url=server.url, api_key=key, max_retries=0, timeout=20, http_client=plain
    )
