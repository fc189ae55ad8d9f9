"""Commands of ``python -m sim`` that are more than a few lines, and the options that commands share.

With `sim.cli` the only place in this package that knows ``reports``. Heavy imports happen inside functions.
"""
