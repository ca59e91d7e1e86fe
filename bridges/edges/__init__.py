"""One file per edge, named ``<source>_to_<target>.py``; `bridges.routes` imports them as needed."""
