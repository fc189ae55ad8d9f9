# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does prefix caching save on a chat?
#
# The first example that ships, run through the Python API: some ten thousand requests of multi-turn chats
# on one H200 with vLLM's prefix cache, beside the same requests without it. A result shows itself.

# %%
from IPython.display import display

from sim import load_config, run

result = run(load_config("quickstart"))
display(result)

# %% [markdown]
# ## What it saves
#
# Tokens and TTFT fall by most of their size. The GPU's busy time hardly does: at this load it mostly
# decodes, and decoding reads the same weights and KV whether the prompt was cached or not. The bill of
# a GPU that is held anyway does not change at all.

# %%
result.savings().loc["vllm-h200"].style.format("{:,.4g}")

# %% [markdown]
# ## Where the tokens go
#
# Every turn resends the history, so the prompt grows; what is computed stays about one user message.

# %%
result.tokens_figure()

# %% [markdown]
# ## Time to first token

# %%
result.ttft_figure()

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
# tokens are the same; nothing can be reused. (Five minutes of chats, as the answer is plain.)

# %%
minutes = "workload.duration_s=300"
for shared_by in ("all", "none"):
    config = load_config("quickstart", [minutes, f"workload.system_prompt.shared_by={shared_by}"])
    share = run(config).table()["cache.prefix_cache_hit_rate"]["vllm-h200"]
    print(f"shared by {shared_by}: {share:.1%} of the prompt tokens hit")
