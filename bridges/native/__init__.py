"""Declarations of C libraries, through ctypes; nothing else."""
