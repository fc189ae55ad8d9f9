"""Questions that take several runs: hit-rate curves, capacity, client habits."""
