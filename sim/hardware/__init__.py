"""Models, GPUs and how long they take: catalogues, memory for KV, profiles of iteration times."""
