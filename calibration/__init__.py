"""How long one engine iteration takes: catalogues of models and GPUs, and profiles of the two.

Importing this package never imports torch.
"""
