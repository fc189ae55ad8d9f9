"""Every kind of workload: a new generator or importer is one file and one line here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.formats.claude_code_compact import ClaudeCodeTrace
from workloads.formats.mooncake import MooncakeTrace
from workloads.formats.tokens import TokensTrace
from workloads.generators.chat import ChatWorkload
from workloads.generators.script import ScriptWorkload

TraceWorkload = Annotated[ClaudeCodeTrace | MooncakeTrace | TokensTrace, Field(discriminator="format")]
Workload = Annotated[ChatWorkload | ScriptWorkload | TraceWorkload, Field(discriminator="kind")]
