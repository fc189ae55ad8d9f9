"""Groups of layers over one block pool, as in vLLM's hybrid KV cache manager.

Layers that look back equally far form a group; all groups have equally many layers, so a block of any
group has equally many bytes. A request has a block table for each group, and all of them draw from one
pool with one free queue. ``kinds.py`` says what the layers of a group look at, ``group.py`` what a request
holds in one, ``prefix.py`` finds the longest prefix that every group can serve, and ``cache.py`` puts them
over a pool.
"""
