"""``server`` of a configuration: how the server answers, what it refuses, what goes wrong on request."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from workloads.lengths import Constant, Distribution
from workloads.schema import MOST_S, Schema

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=MOST_S)]


class Replies(Schema):
    """What replies say, and how long they are.

    A reply has ``tokens``, or as many as the request allows if that is less; a request that asks for a
    length (``ignore_eos``, ``min_tokens``) gets it. ``filler`` is meaningless text, ``echo`` says the last
    user message again, and ``recorded`` looks the last user message up in a file of JSON lines with
    ``prompt`` and ``reply`` (filler where it is not there); such texts are cut at ``max_tokens``.
    """

    kind: Literal["filler", "echo", "recorded"] = "filler"
    """What replies say: filler, echo or recorded."""
    tokens: Distribution = Constant(value=250)
    """How long a filler is."""
    path: str | None = None
    """The recorded replies."""
    tool_calls: Annotated[int, Field(ge=0, le=1000)] = 0
    """Where a request may call tools: so many calls, one a reply, after each user message, then a text."""


class Limits(Schema):
    """Per minute, over all clients; None: no limit. Quotas fill up evenly and hold one minute's worth."""

    requests_per_min: PositiveInt | None = None
    """Requests of all clients."""
    input_tokens_per_min: PositiveInt | None = None
    """Prompt tokens, those read from the cache left out."""
    output_tokens_per_min: PositiveInt | None = None
    """Tokens of replies."""
    count_cached_tokens: bool = False
    """Whether tokens read from the cache use up the input quota: not at Anthropic, they do at OpenAI."""


class Faults(Schema):
    """What goes wrong, drawn for each request by its share; a stream breaks off at half of the reply."""

    error_share: Share = 0.0
    """The request gets an error in place of a reply."""
    error_status: Literal[400, 401, 404, 413, 429, 500, 503, 529] = 500
    """The HTTP status of these errors."""
    cut_share: Share = 0.0
    """The connection is dropped in the middle of a reply."""
    truncated_share: Share = 0.0
    """The stream ends early as if all were well, without its last events."""
    malformed_share: Share = 0.0
    """An event in the middle of the stream is no JSON."""
    stall_share: Share = 0.0
    """The stream pauses in the middle for ``stall_s``."""
    stall_s: Seconds = 30.0
    """How long a stream pauses, s."""
    slow_start_s: Annotated[float, Field(ge=0, le=MOST_S)] = 0.0
    """So long after the start of the server it answers 503: a server that still loads its model."""


class ServerOptions(Schema):
    """Everything about the server that is not about the system behind it."""

    replies: Replies = Replies()
    """What replies say, and how long they are."""
    limits: Limits = Limits()
    """Rate limits, per minute."""
    faults: Faults = Faults()
    """What goes wrong on request."""
    latency_factor: Annotated[float, Field(ge=0.01, le=1000)] = 1.0
    """How many times longer than simulated everything takes, by the client's clock."""
    max_body_bytes: PositiveInt = 32 * 2**20
    """A larger request is refused (413)."""
    body_timeout_s: Seconds = 30.0
    """A request whose body is not there by then is refused (408)."""
    send_timeout_s: Seconds = 60.0
    """A client that reads nothing of its stream for so long is taken to be gone."""
    model: str | None = None
    """The name under which /v1/models shows the model; by default the one of the system."""
    any_model: bool = True
    """Whether requests for other models are served too, instead of refused (404)."""
