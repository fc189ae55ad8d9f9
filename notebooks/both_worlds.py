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
# # Own GPUs or a hosted API?
#
# The same sessions of coding agents on one GPU of one's own and on the bills of hosted APIs. The models
# differ in what they can do: bills are compared, not answers.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from sim import load_config, run

hosted = {
    "anthropic-5m": ("anthropic", "claude-opus-5", {"mode": "automatic", "ttl": "5m"}),
    "anthropic-1h": ("anthropic", "claude-opus-5", {"mode": "automatic", "ttl": "1h"}),
    "openai": ("openai", "gpt-5", {"key": "session"}),
    "deepseek": ("deepseek", "deepseek-v4-pro", {}),
}
result = run(
    load_config(
        {
            "name": "both-worlds",
            "seed": 1,
            "warmup_s": 0,  # what these sessions cost as a whole
            "until_s": "end",
            "workload": {
                "kind": "agent",
                "sessions": 25,
                "arrival": {"process": "poisson", "rate_per_s": 0.004},
                "calls": {"distribution": "lognormal", "median": 30, "sigma": 0.6},
            },
            "systems": {
                "own": {
                    "kind": "engine",
                    "model": "llama-3.1-8b",
                    "hardware": "h200",
                    "engine": {
                        "max_model_len": 1_000_000
                    },  # as if its context were as long as the sessions
                    "price": {"gpu_hour_usd": 3.50},
                },
                **{
                    name: {"kind": "provider", "provider": provider, "model": model, "caching": caching}
                    for name, (provider, model, caching) in hosted.items()
                },
            },
            "compare": {"by": "cost_usd_total", "baseline": "own"},
        }
    )
)
f"{len(result.trace):,} calls of 25 sessions"

# %% [markdown]
# ## The bills
#
# With the cache and without. Own GPUs are held from the first arrival to the last reply.

# %%
table = result.table()
names = list(result.runs)
bills = pd.DataFrame(
    {
        "without cache, $": [table.loc[f"{name}/no-cache", "cost.cost_usd_total"] for name in names],
        "with cache, $": [table.loc[name, "cost.cost_usd_total"] for name in names],
        "hit rate, by tokens": [table.loc[name, "cache.prefix_cache_hit_rate"] for name in names],
    },
    index=names,
)
bills.style.format("{:,.2f}").format("{:.1%}", subset=["hit rate, by tokens"])

# %%
figure, axes = plt.subplots(figsize=(7, 3.5))
bills[["without cache, $", "with cache, $"]].plot.barh(ax=axes)
axes.set(xlabel="dollars, logarithmic", xscale="log")
plt.show()

# %% [markdown]
# ## From which traffic on is owning cheaper?
#
# A GPU costs its hour, a hosted API its requests. Owning is cheaper once an hour brings more sessions than
# its price pays for there, as long as the GPU can serve them (up to 70 % of its time).

# %%
crossovers = pd.DataFrame(result.summary()["crossovers"]).set_index("rented")
columns = ["sessions_per_gpu_hour", "owned_usd_per_1000_sessions_at_best", "rented_usd_per_1000_sessions"]
crossovers[columns].style.format("{:,.1f}")

# %%
sessions_per_hour = [n / 2 for n in range(1, 61)]
figure, axes = plt.subplots(figsize=(7, 4))
for one in result.summary()["crossovers"]:
    per_session = one["rented_usd_per_1000_sessions"] / 1000
    axes.plot(sessions_per_hour, [n * per_session for n in sessions_per_hour], label=one["rented"])
axes.axhline(3.50, color="black", linestyle="--", label="one own GPU")
axes.set(xlabel="sessions an hour", ylabel="dollars an hour", yscale="log")
axes.legend()
plt.show()
