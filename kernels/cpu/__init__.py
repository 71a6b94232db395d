"""The passes over memory in C++, for CPUs: compiled for the machine at hand when they are first used."""
