"""Random inputs to every command: each runs right, or ends in one clear message.

`odd.py`, `tree.py`, `text.py` and `drawn.py` make inputs, `material.py` has what they begin with,
`targets.py` puts them into command lines, `case.py` runs one under limits, `judge.py` says what is wrong
with what came of it, and `fuzzing.py` runs many. ``python -m tests.fuzz --seed 1 --inputs 20000`` runs them
from the command line, ``--input N`` one of them alone, with its files and traceback.
"""
