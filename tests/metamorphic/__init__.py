"""Relations between runs: what follows for one from another, whatever the right figures are."""
