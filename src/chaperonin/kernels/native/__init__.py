"""Kernels in C++, compiled once for this machine's processor: source/ is what is computed, library.py compiles it."""
