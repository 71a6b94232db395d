"""The passes over memory in Triton, for CUDA devices."""
