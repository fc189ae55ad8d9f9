"""The doctor: recorded calls held against the caching rules, and what each miss cost."""
