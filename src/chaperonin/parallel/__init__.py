"""Functions that spread a model or its training over memory and processes: recomputation, data parallelism."""
