"""vLLM's V1 engine: its scheduler and options (version 0.33.0)."""
