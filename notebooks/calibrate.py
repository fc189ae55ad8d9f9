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
# # How good is a measured profile?
#
# The shipped profile of a small model on a CPU, fitted again from its samples. The same cells draw any
# profile that `python -m calibration run` wrote.

# %%
import os
from pathlib import Path

root = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "configs").is_dir())
os.chdir(root)  # as for the command line

# %%
import pandas as pd
from IPython.display import SVG

from calibration.build import rebuild
from reports import calibration_figures as figures
from reports import canvas

built = rebuild(Path("calibration/profiles/epyc-1-thread.tiny-40m.float32.yaml"))
profile = built.profile
assert profile.heldout is not None and profile.fit is not None, "this profile was not measured"
print(profile.id, profile.source, sep="\n")

# %% [markdown]
# ## Measured and predicted
#
# Iterations that the fit never saw, off the grid that it saw.

# %%
SVG(canvas.svg(figures.measured_against_predicted(built)))

# %% [markdown]
# ## What is left
#
# Errors inside the grey band cannot be told from noise: two halves of the same passes disagree as much.

# %%
SVG(canvas.svg(figures.residuals(built)))

# %% [markdown]
# ## Simpler models
#
# The same held-out iterations: a plain linear fit, a roofline from the machine's peaks, a random forest.

# %%
heldout = profile.heldout
rows = {"this profile": heldout.errors, **heldout.baselines}
errors = pd.DataFrame({name: errors.model_dump() for name, errors in rows.items()}).T
errors[["mape", "p90", "p99", "bias"]].style.format("{:.1%}")

# %%
SVG(canvas.svg(figures.models(profile)))

# %% [markdown]
# ## What the coefficients say
#
# Their 90 % intervals, and the rates that follow. A coefficient whose interval begins at zero was not
# told apart from its neighbours; the sum is still right.

# %%
coefficients = profile.coefficients.model_dump()
pd.DataFrame(
    [(name, coefficients.get(name), *ends) for name, ends in profile.fit.intervals.items()],
    columns=["coefficient", "value, s", "5 %", "95 %"],
).style.format("{:.3g}", subset=["value, s", "5 %", "95 %"], na_rep="in hinges")

# %%
pd.Series(profile.fit.implied, name="TFLOP/s or GB/s").to_frame().style.format("{:.3g}")
