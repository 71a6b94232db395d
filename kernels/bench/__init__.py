"""Speed of the operations, as ratios of contenders in one run and against the machine's measured limits."""
