"""Every kind of workload.

A new generator or importer is one file, which keeps the contract of `workloads.base.Workload`, and one line
here.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from workloads.formats.agent_text_logs import AgentTextLog
from workloads.formats.api_log import ApiLog
from workloads.formats.azure import AzureTrace
from workloads.formats.burstgpt import BurstGptTrace
from workloads.formats.claude_code import ClaudeCodeLog
from workloads.formats.claude_code_compact import ClaudeCodeTrace
from workloads.formats.codex import CodexLog
from workloads.formats.guessed import GuessedTrace
from workloads.formats.helicone import HeliconeLog
from workloads.formats.langfuse import LangfuseLog
from workloads.formats.langsmith import LangSmithLog
from workloads.formats.litellm import LiteLlmLog
from workloads.formats.lmcache_hashes import LmcacheHashes
from workloads.formats.mooncake import MooncakeTrace
from workloads.formats.mooncake_text import MooncakeText
from workloads.formats.otel_genai import OtelTrace
from workloads.formats.own import OwnTrace
from workloads.formats.sglang_requests import SglangRequests
from workloads.formats.sharegpt import ShareGptTrace
from workloads.formats.tokens import TokensTrace
from workloads.formats.tracelab import TraceLabTrace
from workloads.formats.vllm_bench import VllmBenchTrace
from workloads.formats.vllm_kv_events import VllmKvEvents
from workloads.generators.agent import AgentWorkload
from workloads.generators.batch import BatchWorkload
from workloads.generators.chat import ChatWorkload
from workloads.generators.fitted import FittedWorkload
from workloads.generators.long_documents import LongDocumentsWorkload
from workloads.generators.mix import MixWorkload
from workloads.generators.rag import RagWorkload
from workloads.generators.script import ScriptWorkload

KnownTrace = (
    AgentTextLog
    | ApiLog
    | AzureTrace
    | BurstGptTrace
    | ClaudeCodeLog
    | ClaudeCodeTrace
    | CodexLog
    | HeliconeLog
    | LangfuseLog
    | LangSmithLog
    | LiteLlmLog
    | LmcacheHashes
    | MooncakeText
    | MooncakeTrace
    | OtelTrace
    | OwnTrace
    | SglangRequests
    | ShareGptTrace
    | TokensTrace
    | TraceLabTrace
    | VllmBenchTrace
    | VllmKvEvents
)
AnyTrace = KnownTrace | GuessedTrace
FORMATS: dict[str, Any] = {
    name: kind for kind in get_args(KnownTrace) for name in get_args(kind.model_fields["format"].annotation)
}
"""The importers by the name of their format."""


def _fill_format(value: Any) -> Any:
    if isinstance(value, dict) and value.get("kind") == "trace" and "format" not in value:
        return {"format": "guess", **value}
    return value


GeneratedWorkload = (
    AgentWorkload | BatchWorkload | ChatWorkload | FittedWorkload | LongDocumentsWorkload | RagWorkload
)
"""Workloads that are drawn, sessions that start by a process."""
TraceWorkload = Annotated[AnyTrace, Field(discriminator="format")]
ClassWorkload = Annotated[
    Annotated[GeneratedWorkload | ScriptWorkload | TraceWorkload, Field(discriminator="kind")],
    BeforeValidator(_fill_format),
]
"""What may be a class of a mix."""
WorkloadConfig = Annotated[
    Annotated[
        GeneratedWorkload | MixWorkload | ScriptWorkload | TraceWorkload, Field(discriminator="kind")
    ],
    BeforeValidator(_fill_format),
]
WithArrivals = GeneratedWorkload | MixWorkload | KnownTrace
"""Workloads whose sessions begin at times that ``arrival`` sets."""
