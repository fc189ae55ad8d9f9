"""SGLang's engine: its scheduler, queue, memory and options (version 0.5.23)."""
