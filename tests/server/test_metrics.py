"""/metrics as Prometheus reads it: names and types of vLLM's list."""

from __future__ import annotations

from typing import Any

import openai
from prometheus_client.parser import text_string_to_metric_families

from tests.server.fake import FakeLive
from tests.server.running import Up

GAUGES = (
    "num_requests_running num_requests_waiting kv_cache_usage_perc cache_config_info lora_requests_info"
)
COUNTERS = (
    "prefix_cache_queries_total prefix_cache_hits_total prompt_tokens_total generation_tokens_total "
    "request_success_total num_preemptions_total"
)
HISTOGRAMS = (
    "time_to_first_token_seconds inter_token_latency_seconds request_time_per_output_token_seconds "
    "e2e_request_latency_seconds request_queue_time_seconds request_prefill_time_seconds "
    "request_decode_time_seconds request_inference_time_seconds request_prompt_tokens "
    "request_generation_tokens iteration_tokens_total"
)
HELLO: Any = [{"role": "user", "content": "Hello"}]


def families(server: Up[FakeLive]) -> dict[str, Any]:
    reply = server.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(reply.text)}


def value(found: dict[str, Any], sample: str, **labels: str) -> float:
    wanted = {"model_name": "fake-model", "engine": "0", **labels}
    return sum(
        float(one.value)
        for family in found.values()
        for one in family.samples
        if one.name == f"vllm:{sample}" and wanted.items() <= one.labels.items()
    )


def test_names_and_types_are_those_of_vllm(engine: Up[FakeLive]) -> None:
    found = families(engine)
    wanted = {f"vllm:{name}": "gauge" for name in GAUGES.split()}
    wanted |= {f"vllm:{name.removesuffix('_total')}": "counter" for name in COUNTERS.split()}
    wanted |= {f"vllm:{name}": "histogram" for name in HISTOGRAMS.split()}
    assert {name: family.type for name, family in found.items()} == wanted
    config = found["vllm:cache_config_info"].samples[0]
    assert config.value == 1 and config.labels["block_size"] == "1"
    assert config.labels["num_gpu_blocks"] == "1000"


def test_figures_are_those_of_the_requests(engine: Up[FakeLive], chat: openai.OpenAI) -> None:
    before = families(engine)
    chat.chat.completions.create(model="m", messages=HELLO, max_tokens=5)
    chat.chat.completions.create(model="m", messages=HELLO)
    found = families(engine)

    def grown(sample: str, **labels: str) -> float:
        return value(found, sample, **labels) - value(before, sample, **labels)

    assert grown("prompt_tokens_total") == 8 and grown("prefix_cache_hits_total") == 3
    assert grown("generation_tokens_total") == 15
    assert grown("request_success_total", finished_reason="length") == 1
    assert grown("request_success_total", finished_reason="stop") == 1
    assert grown("request_generation_tokens_sum") == 15 and grown("request_prompt_tokens_count") == 2
    assert grown("inter_token_latency_seconds_count") == 4 + 9
    assert grown("time_to_first_token_seconds_count") == grown("e2e_request_latency_seconds_count") == 2
    assert grown("iteration_tokens_total_sum") == 8
    assert value(found, "num_requests_running") == 0
