"""From the numbers of steps to batches, read ahead by worker processes or by DALI."""
