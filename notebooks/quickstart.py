# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does prefix caching save on a chat?
#
# The experiment of `configs/quickstart.yaml`, run through the Python API: about ten thousand requests
# of multi-turn chats on one H200 with vLLM's prefix cache, beside the same requests without it.

# %%
import os
from pathlib import Path

root = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "configs").is_dir())
os.chdir(root)  # as for the command line

# %%
import pandas as pd
from IPython.display import SVG

from reports import canvas, figures
from sim import load_config, run

result = run(load_config(Path("configs/quickstart.yaml")))
summary = result.summary()
summary["systems"]["vllm-h200"]["notes"]

# %% [markdown]
# ## What it saves
#
# Tokens and TTFT fall by most of their size. The GPU's busy time hardly does: at this load it mostly
# decodes, and decoding reads the same weights and KV whether the prompt was cached or not. The bill of
# a GPU that is held anyway does not change at all.

# %%
savings = pd.DataFrame(summary["savings"]["vllm-h200"]).T.astype(float)
savings.style.format("{:,.4g}").format("{:.1%}", subset=["saved_ratio"])

# %% [markdown]
# ## Where the tokens go
#
# Every turn resends the history, so the prompt grows; what is computed stays about one user message.

# %%
name, outcome = "vllm-h200", result.runs["vllm-h200"]
SVG(canvas.svg(figures.prompt_tokens(name, outcome)))

# %% [markdown]
# ## Time to first token

# %%
SVG(canvas.svg(figures.ttft(name, outcome)))

# %% [markdown]
# ## The request table
#
# One flat row per request and system; the rows of the twin without a cache carry `/no-cache`.

# %%
requests = result.requests()
by_turn = requests[requests.turn <= 8].pivot_table(
    index="turn", columns="system", values=["input_tokens", "cache_read_input_tokens", "ttft_ms"]
)
by_turn.round(1)

# %% [markdown]
# ## Another question: a clock in the system prompt
#
# `shared_by: none` gives every request a system prompt of its own, as a current time in it would. The
# tokens are the same; nothing can be reused.

# %%
clock = run(load_config(Path("configs/quickstart.yaml"), ["workload.system_prompt.shared_by=none"]))
cache = pd.DataFrame(
    {
        "fixed system prompt": summary["systems"][name]["cache"],
        "clock in it": clock.summary()["systems"][name]["cache"],
    }
)
cache.loc[["prefix_cache_queries_tokens", "prefix_cache_hits_tokens", "prefix_cache_hit_rate"]]
