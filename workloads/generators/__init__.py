"""Workloads that we make ourselves, from a configuration and a seed."""
