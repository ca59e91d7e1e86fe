"""Batches: many jobs, each in a process of its own, with a journal of what became of them."""
