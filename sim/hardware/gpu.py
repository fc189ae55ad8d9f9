"""GPUs by name: small YAML files with their sources, shipped or the user's own."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from workloads.documents import read_yaml
from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.in_words import first_problem

FOLDER = Path(__file__).parent / "gpus"
GIB = 2**30


class Gpu(BaseModel):
    """A GPU's datasheet: its memory as the driver and as CUDA report it, bandwidth, dense bf16 compute.

    Engines share out what CUDA reports (``cudaMemGetInfo``), which is a little less than what nvidia-smi
    prints: 24,081 of an RTX 4090's 24,564 MiB. Where a file leaves ``cuda_memory_gib`` out it is the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=200)
    aliases: list[str] = Field(default=[], description="further names of the catalogue's entry")
    memory_mib: PositiveInt = Field(le=10**8, description="as the driver reports it: nvidia-smi")
    cuda_memory_gib: PositiveFloat | None = Field(default=None, le=1e5, description="as CUDA reports it")
    memory_bandwidth_gb_per_s: PositiveFloat = Field(le=1e7)
    bf16_tflops: PositiveFloat = Field(le=1e7)
    fp8_tflops: PositiveFloat | None = Field(default=None, le=1e7)
    """Dense, 8-bit operands (fp8 or int8); None: computed in 16 bit."""
    fp4_tflops: PositiveFloat | None = Field(default=None, le=1e7)
    link_gb_per_s: PositiveFloat | None = Field(default=None, le=1e7)
    """What a collective with its neighbours reaches each way: most of NVLink, a part of PCIe."""
    link_latency_us: float = Field(default=10.0, ge=0, le=1e6)
    """Of starting a collective."""
    source: str
    checked: bool = False

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("must be printable")
        return name

    @property
    def memory_bytes(self) -> int:
        """All memory, as the driver reports it: engines choose their batch limits by it."""
        return self.memory_mib * 2**20

    @property
    def cuda_memory_bytes(self) -> int:
        """What CUDA reports as total: engines take their share of this."""
        return self.memory_bytes if self.cuda_memory_gib is None else round(self.cuda_memory_gib * GIB)


def names() -> list[str]:
    """The catalogue's entries, without aliases."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def aliases() -> dict[str, str]:
    """The entry behind each alias."""
    return {alias: name for name in names() for alias in _read(FOLDER / f"{name}.yaml").aliases}


def gpu(name: str, key: str = "hardware", folder: Path | None = None) -> Gpu:
    """The GPU called ``name``, or that of a YAML file of the catalogue's form at that path.

    Names and aliases (``h100``) are read in lower or upper case; a path ends with .yaml or .yml and is
    relative to ``folder`` or the current one. InputError names ``key`` and lists the catalogue, or names
    the file.
    """
    if name.endswith((".yaml", ".yml")):
        return _read(find_file(Path(name), folder or Path()))
    wanted = name.lower()
    wanted = aliases().get(wanted, wanted)
    if wanted not in names():
        near = get_close_matches(wanted, [*names(), *aliases()], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(
            f"{key} = {name!r} is not in the catalogue{hint}; allowed: {', '.join(names())}; or the path "
            "of a YAML file with the same keys"
        )
    return _shipped(wanted)


@cache
def _shipped(name: str) -> Gpu:
    return _read(FOLDER / f"{name}.yaml")


def _read(path: Path) -> Gpu:
    data = read_yaml(path, f"a GPU with {_keys()}")
    try:
        return Gpu.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, data)}; a GPU has {_keys()}") from None


def _keys() -> str:
    return ", ".join(Gpu.model_fields)
