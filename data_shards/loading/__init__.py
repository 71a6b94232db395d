"""Batches for training and evaluation, each addressed by its number, read ahead by threads or processes."""
