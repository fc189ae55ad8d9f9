"""The metrics of a live vLLM server: its latencies as histograms, its tokens, its hits."""

from __future__ import annotations

import http.client
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib import error, parse, request

from calibration.served.prometheus import Histogram, Sample, counter, histogram
from calibration.served.prometheus import parse as parse_text
from workloads.errors import InputError
from workloads.formats.files import find_file, opened
from workloads.shown import why

TIMEOUT_S = 10.0
MOST_BYTES = 64 * 2**20
LATENCIES = {
    "TTFT": ("vllm:time_to_first_token_seconds",),
    "TPOT": ("vllm:request_time_per_output_token_seconds",),
    "ITL": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
    "E2E": ("vllm:e2e_request_latency_seconds",),
}
"""By metric the names that vLLM gives or gave it."""
PROMPT = ("vllm:request_prompt_tokens",)
OUTPUT = ("vllm:request_generation_tokens",)
QUERIES = ("vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries")
HITS = ("vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits")


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """What a server has counted since it started, or since an earlier scrape."""

    where: str
    latencies: dict[str, Histogram]
    """TTFT, TPOT, ITL and E2E, as far as the server tells them, s."""
    prompt_tokens: Histogram | None
    output_tokens: Histogram | None
    query_tokens: float | None
    """Prompt tokens that were looked up in the prefix cache."""
    hit_tokens: float | None

    @property
    def requests(self) -> int:
        """Requests whose first token came."""
        return int(self.latencies["TTFT"].count)

    def since(self, earlier: ServerMetrics) -> ServerMetrics:
        """What came after ``earlier``; InputError if that is of another server or a later time."""
        latencies = {
            name: found.less(earlier.latencies[name]) if name in earlier.latencies else found
            for name, found in self.latencies.items()
        }
        if latencies["TTFT"].count <= 0 or any(found.count < 0 for found in latencies.values()):
            raise InputError(
                f"--since {earlier.where}: {earlier.requests:,} requests, {self.where} has "
                f"{self.requests:,}; allowed: an earlier scrape of the same server, and requests between"
            )

        def less(now: float | None, before: float | None) -> float | None:
            return None if now is None or before is None else now - before

        def lengths(now: Histogram | None, before: Histogram | None) -> Histogram | None:
            return None if now is None else now if before is None else now.less(before)

        return ServerMetrics(
            self.where,
            {name: found for name, found in latencies.items() if found.count > 0},
            lengths(self.prompt_tokens, earlier.prompt_tokens),
            lengths(self.output_tokens, earlier.output_tokens),
            less(self.query_tokens, earlier.query_tokens),
            less(self.hit_tokens, earlier.hit_tokens),
        )


def scrape(place: str) -> ServerMetrics:
    """The metrics at a URL or in a file; InputError if they cannot be had or are not a vLLM server's."""
    text = _fetched(place) if place.startswith(("http://", "https://")) else _of_file(Path(place))
    samples = parse_text(text, place)
    _one_model(samples, place)
    latencies = {
        name: found
        for name, names in LATENCIES.items()
        if (found := histogram(samples, names, place)) is not None
    }
    if "TTFT" not in latencies:
        raise InputError(
            f"{place}: {LATENCIES['TTFT'][0]} has no values; allowed: /metrics of a vLLM server that "
            "has answered requests"
        )
    return ServerMetrics(
        place,
        latencies,
        histogram(samples, PROMPT, place),
        histogram(samples, OUTPUT, place),
        counter(samples, QUERIES, place),
        counter(samples, HITS, place),
    )


def _one_model(samples: dict[str, list[Sample]], place: str) -> None:
    names = {
        sample.labels["model_name"]
        for sample in samples.get(f"{LATENCIES['TTFT'][0]}_count", [])
        if "model_name" in sample.labels
    }
    if len(names) > 1:
        raise InputError(f"{place}: several models ({', '.join(sorted(names))}); allowed: a server of one")


def _of_file(path: Path) -> str:
    path = find_file(path, Path())
    try:
        with opened(path) as file:
            return file.read(MOST_BYTES).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as failed:
        raise InputError(
            f"{path}: cannot be read: {why(failed)}; allowed: a text file of metrics"
        ) from None


def _fetched(url: str) -> str:
    try:
        parts = parse.urlsplit(url)
        if parts.path in ("", "/"):
            url = parse.urlunsplit(parts._replace(path="/metrics"))
        with request.urlopen(url, timeout=TIMEOUT_S) as answer:
            text: str = answer.read(MOST_BYTES).decode("utf-8")
            return text
    except error.HTTPError as failed:
        reason = f"answers {failed.code} {failed.reason}"
        failed.close()
    except TimeoutError:
        reason = f"no answer within {TIMEOUT_S:g} s"
    except error.URLError as failed:
        late = isinstance(failed.reason, TimeoutError)
        reason = f"no answer within {TIMEOUT_S:g} s" if late else f"no answer: {failed.reason}"
    except (OSError, http.client.HTTPException, ValueError) as failed:  # cut off, no URL, not text
        reason = f"no metrics: {failed}"
    raise InputError(f"{url}: {reason}; allowed: the URL of a server's /metrics")
