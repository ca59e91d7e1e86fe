"""Tests of the samples: each is run as people run it."""
