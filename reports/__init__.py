"""Reports: what a person reads. Numbers come from ``sim``; nothing is computed or simulated here.

``console.table`` for the terminal, ``html.render`` for one self-contained page, ``figures`` for the
pictures in it. Import the module that is needed: each brings a heavy library of its own.
"""
