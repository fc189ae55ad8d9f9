"""A third party's engine beside the simulator: transformers' continuous batching with prefix sharing.

Rules as read from transformers 5.17.0 (``generation/continuous_batching``), which differ from vLLM's:

* A prompt that is cached to its end keeps all its blocks and computes one token.
* Blocks can be found once they are computed, not when they are allocated.
* What a request fills in the step in which it finishes cannot be found.

Decodes go before begun prompts and waiting ones, as in the simulator's scheduler. Its engine is driven
step by step here, with arrivals in simulated time; some names are private, so the version is pinned.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from calibration.plan import Sequence
from calibration.serving import Texts
from sim.caches.block import MISS, BlockCache, BlockTable, Hit
from sim.engine.vllm.batch import Batch
from sim.hardware.dense import DenseDecoder
from workloads.clients import Clients
from workloads.content import ContentTree
from workloads.errors import InputError
from workloads.trace import NONE, Trace

VERSION = "5.17.0"


class AfterCompute(BlockCache):
    """A block cache by transformers' rules; whoever drives it says when a step is computed.

    Copies are not merged, as the engine merges them; that shows in memory, not in hits.
    """

    def __init__(
        self, content: ContentTree, block_size: int, capacity_blocks: int, *, caching: bool = True
    ) -> None:
        super().__init__(content, block_size, capacity_blocks, caching=caching)
        self._pending: dict[BlockTable, int] = {}

    def publish(self, table: BlockTable, tokens: int) -> None:
        """Note what the step under way fills."""
        self._pending[table] = tokens

    def computed(self, finished: set[BlockTable]) -> None:
        """The step is computed: what it filled can be found, but for requests that finish with it."""
        for table, tokens in self._pending.items():
            if table not in finished:
                super().publish(table, tokens)
        self._pending.clear()

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """Longest cached prefix in whole blocks, the last token's block included."""
        return super().lookup(table, known_tokens + 1) if known_tokens else MISS

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """As in the base; of a prompt found to its end one token is computed."""
        return min(super().acquire(table, hit), table.prompt_tokens - 1)

    def release(self, table: BlockTable, blocks: int) -> None:
        """As in the base; what was not computed yet is dropped."""
        self._pending.pop(table, None)
        super().release(table, blocks)


def simulated(batch: Batch, memory: AfterCompute, predicted_s: float) -> float:
    """To be given to a replica's plan as ``compute``: takes what is predicted.

    Nothing is looked up between a step's scheduling and its end, so its blocks can be entered here.
    """
    memory.computed({request.table for request in batch.finishing})
    return predicted_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine is told: tokens of a block, blocks, tokens and requests of a step."""

    block_size: int
    blocks: int
    max_batch_tokens: int
    max_requests: int


@dataclass(slots=True)
class EngineRun:
    """What transformers did with a trace; times in s of CPU time, idle skipped."""

    hit_tokens: list[int]
    """Prompt tokens not computed, per request."""
    arrival_s: list[float]
    first_token_s: list[float]
    finished_s: list[float]
    steps: list[tuple[list[Sequence], float]] = field(default_factory=list)
    """(cached, new) tokens of each sequence of a step, and how long it took."""

    @property
    def busy_s(self) -> float:
        """The sum of all steps."""
        return sum(t_s for _, t_s in self.steps)


class Transformers:
    """A Llama of the given shape with random weights behind transformers' continuous batching."""

    def __init__(self, model: DenseDecoder, limits: Limits, seed: int = 0) -> None:
        import torch

        transformers: Any = import_module("transformers")
        generation: Any = import_module("transformers.generation")
        if transformers.__version__ != VERSION:
            raise InputError(
                f"transformers = {transformers.__version__}; allowed: {VERSION} (private names are used)"
            )
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            hidden_size=model.hidden_size,
            intermediate_size=model.intermediate_size,
            num_hidden_layers=model.num_hidden_layers,
            num_attention_heads=model.num_attention_heads,
            num_key_value_heads=model.num_key_value_heads,
            head_dim=model.head_dim,
            vocab_size=model.vocab_size,
            max_position_embeddings=model.max_position_embeddings,
            attn_implementation="sdpa",
        )
        self.model: Any = transformers.LlamaForCausalLM(config).eval()
        self.vocabulary = model.vocab_size
        self._limits, self._generation = limits, generation

    def serve(self, trace: Trace, *, sharing: bool = True) -> EngineRun:
        """Serve ``trace``; what it generates becomes part of the prompts that follow, as in a chat."""
        return _Session(self, trace, sharing).run()

    def manager(self, sharing: bool) -> Any:
        """A fresh manager, not started: its loop is driven from outside."""
        limits, generation = self._limits, self._generation
        batching = generation.ContinuousBatchingConfig(
            block_size=limits.block_size,
            num_blocks=limits.blocks,
            max_batch_tokens=limits.max_batch_tokens,
            max_requests_per_batch=limits.max_requests,
            allow_block_sharing=sharing,
            use_cuda_graph=False,
            use_async_batching=False,
            max_blocks_per_request=0,
        )
        return self.model.init_continuous_batching(
            generation_config=generation.GenerationConfig(
                do_sample=False, eos_token_id=-1, max_new_tokens=1
            ),
            continuous_batching_config=batching,
        )


class _Session:
    """One trace through one manager."""

    def __init__(self, engine: Transformers, trace: Trace, sharing: bool) -> None:
        self._engine, self._trace = engine, trace
        self._manager = engine.manager(sharing)
        self._batch = self._manager._create_batch_processor()
        self._texts = Texts(trace.content, engine.vocabulary, trace.seed)
        self._prompts: dict[int, list[int]] = {}
        self._futures: list[Any] = []
        self._sequences: list[Sequence] = []
        n = len(trace)
        nan = float("nan")
        self._out = EngineRun([0] * n, [nan] * n, [nan] * n, [nan] * n)
        self._clients = Clients(trace)
        self._arrivals = self._clients.opening()
        heapq.heapify(self._arrivals)
        self._before = {after: i for i, after in enumerate(trace.follower) if after != NONE}
        self._replies: dict[int, list[int]] = {}
        self._watch()

    def _watch(self) -> None:
        """Hear of prefix matches and of what each step schedules."""
        cache, scheduler = self._batch.cache, self._batch.scheduler
        search, schedule = cache.search_prefix_match, scheduler.schedule_batch

        def searched(request_id: str, tokens: list[int]) -> int:
            found: int = search(request_id, tokens)
            self._out.hit_tokens[int(request_id)] = min(found, len(tokens) - 1)
            return found

        def scheduled(*args: Any) -> Any:
            result = schedule(*args)
            self._futures = result[0] or []
            self._sequences = [(f.state.position_offset, f.query_length) for f in self._futures]
            return result

        cache.search_prefix_match, scheduler.schedule_batch = searched, scheduled

    def run(self) -> EngineRun:
        """Step until everybody is answered."""
        now, left = 0.0, len(self._trace)
        while left:
            while self._arrivals and self._arrivals[0][0] <= now:
                self._arrive(*heapq.heappop(self._arrivals))
            start = time.thread_time()
            if not self._batch.prepare_next_batch():
                now = max(now, self._arrivals[0][0])
                continue
            self._batch._generation_step(self._engine.model)
            self._batch.update_batch()
            took = time.thread_time() - start
            now += took
            self._out.steps.append((self._sequences, took))
            left -= self._note(now)
        return self._out

    def _arrive(self, at: float, index: int) -> None:
        trace = self._trace
        self._out.arrival_s[index] = at
        prompt = self._prompt(index)
        self._prompts[index] = prompt
        self._manager.add_request(
            prompt, request_id=str(index), max_new_tokens=trace.output_tokens[index], eos_token_id=-1
        )

    def _prompt(self, index: int) -> list[int]:
        """The request before it and its real reply, then what is new; or the text of the trace."""
        path = self._trace.content.path(self._trace.prompt[index])
        end = self._trace.content.end[path[-1]]
        before = self._before.get(index)
        if before is None:
            return self._texts.tokens(path, 0, end)
        known = self._prompts[before] + self._replies[before]
        return known + self._texts.tokens(path, len(known), end)

    def _note(self, now: float) -> int:
        """Write down first and last tokens; how many requests are finished."""
        finished = 0
        for future in self._futures:
            state, index = future.state, int(future.state.request_id)
            if future.has_new_token and state.generated_len() == 1:
                self._out.first_token_s[index] = now
            if state.generated_len() == self._trace.output_tokens[index]:
                finished += 1
                self._out.finished_s[index] = now
                self._replies[index] = list(state.generated_tokens)
                after = self._clients.after(index, now)
                if after is not None:
                    heapq.heappush(self._arrivals, after)
        return finished
