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
import os
from pathlib import Path

root = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "configs").is_dir())
os.chdir(root)  # as for the command line

# %%
import matplotlib.pyplot as plt
import pandas as pd

from sim import load_config, run
from sim.experiment import load_trace
from sim.studies.curve import blocks_of, exact

study = "configs/studies/eviction.yaml"
shorter = ["workload.duration_s=600", "workload.think_time_s.median=15"]  # than the study, for a notebook
trace = load_trace(load_config(study, shorter))
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
# `belady` evicts what is needed last: no policy that cannot see the future does better, so the distance
# to it is what is left to gain.

# %%
policies = ["lru", "fifo", "lfu", "s3-fifo", "belady"]
systems = {
    f"{policy}-{blocks}": (
        f"{{kind: cache, cache: {{kind: block, capacity_blocks: {blocks}, eviction: {policy}}}}}"
    )
    for policy in policies
    for blocks in capacities[1:5]
}
listed = "{" + ", ".join(f"{name}: {system}" for name, system in systems.items()) + "}"
whole = ["warmup_s=0", "until_s=end", "compare.baseline=null"]
summary = run(load_config(study, [*shorter, *whole, f"systems={listed}"])).summary()

rates = pd.DataFrame(
    {
        policy: {
            blocks: summary["systems"][f"{policy}-{blocks}"]["cache"]["prefix_cache_hit_rate"]
            for blocks in capacities[1:5]
        }
        for policy in policies
    }
).rename_axis("capacity, blocks")
rates.style.format("{:.1%}").format_index("{:,}")

# %%
figure, axes = plt.subplots(figsize=(7, 4))
for policy in policies:
    axes.plot(rates.index, rates[policy], marker="o", label=policy)
axes.set(xlabel="capacity, blocks of 16 tokens", ylabel="hit rate, by tokens", ylim=(0, 1))
axes.legend()
plt.show()

# %% [markdown]
# LRU in a run and LRU on the curve differ a little: the curve counts full blocks of prompts, a run also
# keeps replies, which the next turn sends again.
#
# A policy of your own is one file: `docs/how-to/policy.md`. With times, dollars and intervals: `python -m
# sim run configs/studies/eviction.yaml`.
