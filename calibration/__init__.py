"""How long one engine iteration takes: profiles, measured with plain torch and held against real engines.

Importing this package never imports torch.
"""
