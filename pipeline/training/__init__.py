"""The loop, the sandwich step, what a step is fed with, figures, and when a run logs, evaluates and saves."""
