"""Evaluation of subnets: batch-norm recalibration, held-out accuracy."""
