"""What is refused, in the words of OpenAI and of Anthropic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sim.server.live import Refused
from workloads.shown import brief, plain

Shape = Literal["openai", "anthropic"]
OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
OPENAI_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 503: "service_unavailable"}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """A request that gets an error in place of a reply."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = brief(plain(message))
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self, shape: Shape, request_id: str) -> dict[str, Any]:
        """The JSON that the client gets."""
        if shape == "anthropic":
            kind = ANTHROPIC_TYPES.get(self.status, "api_error")
            return {
                "type": "error",
                "error": {"type": kind, "message": self.message},
                "request_id": request_id,
            }
        return {
            "error": {
                "message": self.message,
                "type": OPENAI_TYPES.get(self.status, "server_error"),
                "param": self.param,
                "code": self.code or OPENAI_CODES.get(self.status),
            }
        }


def no_such_model(name: str) -> ApiError:
    """What a client is told that names another model than the one served."""
    return ApiError(404, f"The model `{name}` does not exist.", param="model", code="model_not_found")


def of_refusal(refused: Refused, shape: Shape) -> ApiError:
    """What a client is told when the system does not take its request, or loses it."""
    if refused.kind == "too_long":
        code = "context_length_exceeded" if shape == "openai" else None
        return ApiError(400, str(refused), param="messages", code=code)
    if refused.kind == "queue_full":
        status = 529 if shape == "anthropic" else 503
        return ApiError(status, str(refused), headers=retry_after(refused.retry_after_s))
    return ApiError(500, str(refused))


def retry_after(seconds: float) -> dict[str, str]:
    """When to come again; the SDKs look at the milliseconds first."""
    if seconds <= 0:
        return {}
    return {
        "retry-after": str(max(1, round(seconds))),
        "retry-after-ms": str(max(1, round(seconds * 1000))),
    }


class Cut(Exception):
    """The connection is to be dropped in the middle of a reply."""
