"""Training: the schedule, the sandwich step, losses, optimizer, checkpoints, and the loop."""
