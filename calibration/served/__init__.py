"""What somebody's own server took, held against the simulator: benchmarks, logs, metrics."""
