"""What arrives: conversations and traces, and which of their prompts share which prefix.

A new generator or importer is one file and one line in the unions below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.formats.mooncake import MooncakeTrace
from workloads.generators.chat import ChatWorkload
from workloads.generators.script import ScriptWorkload

TraceWorkload = MooncakeTrace
Workload = Annotated[ChatWorkload | ScriptWorkload | TraceWorkload, Field(discriminator="kind")]

__all__ = ["TraceWorkload", "Workload"]
