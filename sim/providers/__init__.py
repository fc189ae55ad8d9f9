"""Hosted APIs: caching rules as data, one engine that follows them in simulated time, exact bills."""
