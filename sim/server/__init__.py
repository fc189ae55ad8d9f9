"""A system of a configuration behind the HTTP APIs that clients know."""
