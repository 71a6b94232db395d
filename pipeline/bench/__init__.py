"""`deps bench`: the speed of operations and of a whole step, as ratios of contenders in one run."""
