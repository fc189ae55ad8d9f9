"""``python -m workloads``."""

from workloads.cli import main

main()
