"""Where options that readers know from the engines' command lines stand in a system."""

from __future__ import annotations

_PATHS = {
    # vLLM's
    "block_size": "cache.block_size",
    "data_parallel_size": "data_parallel",
    "gpu_memory_utilization": "memory.gpu_memory_utilization",
    "num_gpu_blocks": "memory.kv_blocks",
    "num_gpu_blocks_override": "memory.kv_blocks",
    "num_speculative_tokens": "engine.speculative.num_speculative_tokens",
    "pipeline_parallel_size": "pipeline_parallel",
    "scheduling_policy": "engine.policy",
    "speculative_config": "engine.speculative",
    "tensor_parallel_size": "tensor_parallel",
    # SGLang's
    "context_length": "engine.max_model_len",
    "dp_size": "data_parallel",
    "ep_size": "expert_parallel",
    "max_total_tokens": "memory.kv_blocks",
    "mem_fraction_static": "memory.mem_fraction_static",
    "page_size": "cache.page_size",
    "pp_size": "pipeline_parallel",
    "tp_size": "tensor_parallel",
    # keys of other sections of a system
    **{key: f"cache.{key}" for key in ("capacity_blocks", "eviction", "tiers")},
    **{key: key for key in ("dtype", "kv_cache_dtype", "tensor_parallel", "price", "router")},
    **{
        key: f"engine.{key}"
        for key in (
            "max_model_len", "max_num_batched_tokens", "max_num_seqs", "policy", "speculative",
            "chunked_prefill_size", "max_running_requests", "schedule_policy",
        )
    },
    "kv_blocks": "memory.kv_blocks",
}  # fmt: skip
ELSEWHERE: dict[str, str] = {key: f"it is {path} of a system" for key, path in _PATHS.items()} | {
    "enable_chunked_prefill": "always on; engine.long_prefill_token_threshold limits it",
    "enable_expert_parallel": "expert_parallel of a system says over how many GPUs",
    "enable_prefix_caching": "every system is run without its cache too",
    "quantization": "the model's config.json says it",
    "slo": "it stands beside systems, for all of them",
}
"""By the key that is looked for."""
IN_VLLM = ELSEWHERE | {
    "chunked_prefill_size": "vLLM's is max_num_batched_tokens",
    "max_running_requests": "vLLM's is max_num_seqs",
    "schedule_policy": "vLLM's is policy",
}
"""In ``engine: {kind: vllm}``."""
IN_SGLANG = ELSEWHERE | {
    "max_num_batched_tokens": "SGLang's is chunked_prefill_size",
    "max_num_seqs": "SGLang's is max_running_requests",
    "policy": "SGLang's is schedule_policy",
    "scheduling_policy": "SGLang's is schedule_policy",
    "speculative": "of vLLM's engine only",
    "speculative_config": "of vLLM's engine only",
}
"""In ``engine: {kind: sglang}``."""
