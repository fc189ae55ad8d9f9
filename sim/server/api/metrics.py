"""GET /metrics: the metrics of vLLM under its names, from what the system says of itself.

Gauges and counters are read when they are asked for; histograms are filled as requests end, with simulated
times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sim.server.live import Live, State, Times, Usage

Buckets = tuple[float, ...]
FIRST_TOKEN: Buckets = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
BETWEEN: Buckets = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0,
)  # fmt: skip
WHOLE: Buckets = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip
SECONDS: dict[str, Buckets] = {
    "time_to_first_token_seconds": FIRST_TOKEN,
    "inter_token_latency_seconds": BETWEEN,
    "request_time_per_output_token_seconds": BETWEEN,
    "e2e_request_latency_seconds": WHOLE,
    "request_queue_time_seconds": WHOLE,
    "request_prefill_time_seconds": WHOLE,
    "request_decode_time_seconds": WHOLE,
    "request_inference_time_seconds": WHOLE,
}
TOKENS = tuple(float(step * 10**power) for power in range(7) for step in (1, 2, 5))
COUNTED: dict[str, Buckets] = {
    "request_prompt_tokens": TOKENS,
    "request_generation_tokens": TOKENS,
    "iteration_tokens_total": (1.0, 8.0, *(float(2**power) for power in range(4, 15))),
}
HELP = {
    "num_requests_running": "Number of requests in model execution batches.",
    "num_requests_waiting": "Number of requests waiting to be processed.",
    "kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
    "prefix_cache_queries": "Prefix cache queries, in terms of number of queried tokens.",
    "prefix_cache_hits": "Prefix cache hits, in terms of number of cached tokens.",
    "prompt_tokens": "Number of prefill tokens processed.",
    "generation_tokens": "Number of generation tokens processed.",
    "num_preemptions": "Cumulative number of preemptions.",
}


class Metrics:
    """All metrics of one server."""

    def __init__(self, live: Live, model: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._live = live
        self._labels = {"model_name": model, "engine": "0"}
        self._registry = CollectorRegistry(auto_describe=False)
        self._finished: dict[str, int] = {"stop": 0, "length": 0, "abort": 0, "error": 0}
        self._histograms: dict[str, Histogram] = {}
        for name, buckets in {**SECONDS, **COUNTED}.items():
            histogram = Histogram(
                f"vllm:{name}",
                f"Histogram of {name.replace('_', ' ')}.",
                list(self._labels),
                registry=self._registry,
                buckets=buckets,
            )
            self._histograms[name] = histogram.labels(**self._labels)
        self._between = self._histograms["inter_token_latency_seconds"]
        self._registry.register(_Now(self))

    def gap(self, gap_s: float, tokens: int) -> None:
        """``tokens`` more have come ``gap_s`` after those before."""
        for _ in range(tokens):
            self._between.observe(gap_s / tokens)

    def ended(self, times: Times, usage: Usage, finish: str) -> None:
        """A request has ended: ``stop``, ``length``, ``abort`` or ``error``."""
        self._finished[finish] = self._finished.get(finish, 0) + 1
        if finish not in ("stop", "length"):
            return
        queued = times.scheduled_s - times.arrival_s
        prefill = times.first_token_s - times.scheduled_s
        decode = times.finished_s - times.first_token_s
        self._observe("time_to_first_token_seconds", times.first_token_s - times.arrival_s)
        self._observe("e2e_request_latency_seconds", times.finished_s - times.arrival_s)
        self._observe("request_queue_time_seconds", queued)
        self._observe("request_prefill_time_seconds", prefill)
        self._observe("request_decode_time_seconds", decode)
        self._observe("request_inference_time_seconds", prefill + decode)
        self._observe("request_prompt_tokens", usage.prompt_tokens)
        self._observe("request_generation_tokens", usage.output_tokens)
        if usage.output_tokens > 1:
            self._observe("request_time_per_output_token_seconds", decode / (usage.output_tokens - 1))

    def _observe(self, name: str, value: float) -> None:
        if not math.isnan(value):
            self._histograms[name].observe(value)

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        for tokens in self._live.iterations():
            self._histograms["iteration_tokens_total"].observe(tokens)
        return generate_latest(self._registry)

    def now(self) -> Iterator[Metric]:
        """Gauges and counters, and what never changes."""
        state, about = self._live.state(), self._live.about
        names, values = list(self._labels), list(self._labels.values())
        for name, value in _gauges(state).items():
            gauge = GaugeMetricFamily(f"vllm:{name}", HELP[name], labels=names)
            gauge.add_metric(values, value)
            yield gauge
        for name, value in _counters(state).items():
            counter = CounterMetricFamily(f"vllm:{name}", HELP[name], labels=names)
            counter.add_metric(values, value)
            yield counter
        success = CounterMetricFamily(
            "vllm:request_success",
            "Count of successfully processed requests.",
            labels=[*names, "finished_reason"],
        )
        for reason, count in self._finished.items():
            success.add_metric([*values, reason], count)
        yield success
        cache = {"block_size": str(about.block_size), "num_gpu_blocks": str(about.kv_blocks)}
        cache |= {"enable_prefix_caching": "True", "engine": "0"}
        loras = {"max_lora": "0", "waiting_lora_adapters": "", "running_lora_adapters": ""}
        for name, labels in (("cache_config_info", cache), ("lora_requests_info", loras)):
            info = GaugeMetricFamily(f"vllm:{name}", f"Information of {name}.", labels=list(labels))
            info.add_metric(list(labels.values()), 1.0)
            yield info


class _Now(Collector):
    """What `Metrics` reads when it is asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.now()


def _gauges(state: State) -> dict[str, float]:
    return {
        "num_requests_running": state.running,
        "num_requests_waiting": state.waiting,
        "kv_cache_usage_perc": state.kv_usage,
    }


def _counters(state: State) -> dict[str, float]:
    return {
        "prefix_cache_queries": state.prompt_tokens,
        "prefix_cache_hits": state.hit_tokens,
        "prompt_tokens": state.prompt_tokens,
        "generation_tokens": state.output_tokens,
        "num_preemptions": state.preemptions,
    }
