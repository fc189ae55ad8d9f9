"""What arrives: conversations and traces, and which of their prompts share which prefix."""
