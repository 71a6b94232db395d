"""Fused operations on CPUs, in C++: compiled for the machine at hand when they are first used."""
