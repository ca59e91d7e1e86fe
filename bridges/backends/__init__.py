"""One file per kind of memory: its context, its tensor, and ``probe()``."""
