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
# # Why did the cache miss, and what would have helped?
#
# The doctor reads any log that says what a provider billed (Claude Code, Codex, a proxy). Here is one
# that we write ourselves, so that every cause is known: fifty threads of eight calls, some after long
# pauses, some lost.

# %%
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from reports.doctor import in_short
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.what_if import price

BLOCK = 64  # tokens of a block in this format of log
random.seed(1)


def thread(number: int) -> dict[str, Any]:
    """Calls that each send all that went before and ten blocks more."""
    at_s, blocks, kept = 0.0, 100, 0
    calls: list[dict[str, Any]] = []
    for _ in range(8):
        pause_s = random.choice([30, 60, 120, 900])  # seconds; the entry lives for 300
        at_s += pause_s if calls else 0
        read = kept if pause_s < 300 and random.random() > 0.03 else 0
        billed = {"input": 3, "write_5m": (blocks - read) * BLOCK, "write_1h": 0, "read": read * BLOCK}
        calls.append(
            {
                "t": at_s,
                "model": "claude-opus-4-5",
                "in": blocks * BLOCK,
                "hash_runs": [[1000 * number, blocks]],
                "ttl": "5m",
                "how": "append" if calls else "first",
                "billed": billed,
            }
        )
        kept, blocks = blocks, blocks + 10
    return {"id": f"thread-{number}", "requests": calls}


log = Path(tempfile.mkdtemp()) / "billed.jsonl"
_ = log.write_text("".join(json.dumps(thread(number)) + "\n" for number in range(50)))

# %%
found = examine(log)
diagnosis = diagnose(found, price(found))
print(in_short(diagnosis))

# %% [markdown]
# ## Causes

# %%
causes = pd.DataFrame(diagnosis["causes"]).set_index("cause")
causes[["calls", "tokens", "usd"]].style.format("{:,.0f}").format("${:.2f}", subset=["usd"])

# %%
figure, axes = plt.subplots(figsize=(7, 2.5))
causes["usd"].iloc[::-1].plot.barh(ax=axes)
axes.set(xlabel="dollars lost", ylabel="")
plt.show()

# %% [markdown]
# ## What to change
#
# Each by replay of the same calls with one thing changed, with its 95 % interval over the threads.

# %%
changes = pd.DataFrame(diagnosis["what_if"])
changes = changes[changes["kind"] == "client"].set_index("change")
changes["saves, $"] = changes["usd"]
changes[["saves, $"]].style.format("{:.2f}")

# %%
figure, axes = plt.subplots(figsize=(7, 3))
changes["saves, $"].sort_values().plot.barh(ax=axes)
axes.set(xlabel="dollars saved; below zero: costs more", ylabel="")
plt.show()

# %% [markdown]
# Your own log: `examine(Path.home() / ".claude")`, or at the command line `python -m sim doctor`. No text
# of a log is kept.
