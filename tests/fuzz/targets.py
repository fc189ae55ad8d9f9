"""What is given to which command: a new target is a function that draws an input, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz import of_commands, of_configs, of_hardware, of_http, of_logs, of_other
from tests.fuzz.case import Input
from tests.fuzz.material import Material


@dataclass(frozen=True)
class Target:
    """A name, how often among the others, and what draws an input of it."""

    name: str
    weight: float
    draw: Callable[[Random, Material], Input]


TARGETS = [
    Target("schema", 30, of_configs.of_the_schema),
    Target("whole", 10, of_configs.drawn_whole),
    Target("values", 12, of_configs.changed_values),
    Target("bytes", 8, of_configs.changed_bytes),
    Target("settings", 8, of_configs.settings),
    Target("run", 1, of_commands.files_of_a_run),
    Target("studies", 1, of_commands.studies),
    Target("compare", 2, of_commands.compared),
    Target("options", 6, of_commands.options),
    Target("traces", 14, of_logs.traces),
    Target("generate", 2, of_logs.made),
    Target("doctor", 4, of_logs.doctor),
    Target("models", 5, of_hardware.models),
    Target("profiles", 3, of_hardware.profiles),
    Target("served", 1, of_hardware.served),
    Target("axes", 0.7, of_other.axes),
    Target("shapes", 1, of_other.shapes),
    Target("tokenizers", 1, of_other.tokenizers),
    Target("layers", 0.3, of_other.layers),
    Target("http", 8, of_http.requests),
]
"""All of them, with their share of the inputs."""
