"""The folder of a run: who may use it, and how far the run is."""
