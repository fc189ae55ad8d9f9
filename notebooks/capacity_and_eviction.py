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
# # How large should the cache be, and what should go first?
#
# Chats on one GPU whose KV memory holds only a part of the open ones. First the LRU hit rate at every
# capacity, exactly and in one pass; then other policies at some capacities, each by a run.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from sim import load_config, run
from sim.experiment import load_trace
from sim.studies.curve import blocks_of, exact

study = "eviction"  # by its name, as `python -m sim examples` lists it
shorter = ["workload.duration_s=600", "workload.think_time_s.median=15"]  # than the study, for a notebook
config = load_config(study, shorter)
trace = load_trace(config)
curve = exact(blocks_of(trace, 16))
most = curve.rate_tokens([curve.full_blocks])[0]
f"{len(trace):,} requests, at most {most:.1%} of the prompt tokens can hit"

# %% [markdown]
# ## The LRU curve
#
# Capacities in blocks of 16 tokens. Where the curve is flat more memory buys nothing.

# %%
shares = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
capacities = [round(share * curve.full_blocks) for share in shares]
lru = pd.Series(curve.rate_tokens(capacities), capacities, name="hit rate, by tokens")
lru.rename_axis("capacity, blocks").to_frame().style.format("{:.1%}").format_index("{:,}")

# %% [markdown]
# ## Other policies
#
# `belady` evicts what is needed last: no policy that cannot see the future does better, so the distance to
# it is what is left to gain.

# %%
policies = ["lru", "fifo", "lfu", "s3-fifo", "belady"]
systems = {
    f"{policy}-{blocks}": {
        "kind": "cache",
        "cache": {"kind": "block", "block_size": 16, "capacity_blocks": blocks, "eviction": policy},
    }
    for policy in policies
    for blocks in capacities[1:5]
}
workload = config.model_dump(mode="json")["workload"]
whole = {"name": "policies", "seed": 1, "warmup_s": 0, "until_s": "end"}
result = run(load_config({**whole, "workload": workload, "systems": systems}))

hits = result.table()["cache.prefix_cache_hit_rate"]
rates = pd.DataFrame(
    {policy: [hits[f"{policy}-{blocks}"] for blocks in capacities[1:5]] for policy in policies},
    index=pd.Index(capacities[1:5], name="capacity, blocks"),
)
rates.style.format("{:.1%}").format_index("{:,}")

# %%
figure, axes = plt.subplots(figsize=(7, 4))
rates.plot(ax=axes, marker="o")
axes.set(xlabel="capacity, blocks of 16 tokens", ylabel="hit rate, by tokens", ylim=(0, 1))
plt.show()

# %% [markdown]
# LRU in a run and LRU on the curve differ a little: the curve counts full blocks of prompts, a run also
# keeps replies, which the next turn sends again.
#
# A policy of your own is one file: `docs/how-to/policy.md`. With times, dollars and intervals:
# `python -m sim run eviction`.
