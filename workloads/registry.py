"""Every kind of workload.

A new generator or importer is one file, which keeps the contract of `workloads.base.Workload`, and one line
here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.formats.claude_code_compact import ClaudeCodeTrace
from workloads.formats.mooncake import MooncakeTrace
from workloads.formats.tokens import TokensTrace
from workloads.generators.chat import ChatWorkload
from workloads.generators.script import ScriptWorkload

TraceWorkload = Annotated[ClaudeCodeTrace | MooncakeTrace | TokensTrace, Field(discriminator="format")]
WorkloadConfig = Annotated[ChatWorkload | ScriptWorkload | TraceWorkload, Field(discriminator="kind")]
WithArrivals = ChatWorkload | ClaudeCodeTrace | MooncakeTrace | TokensTrace
"""Workloads whose sessions begin at times that ``arrival`` sets."""
