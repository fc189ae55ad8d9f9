"""Hot modules compiled in place with mypyc, and how to run without what was compiled."""
