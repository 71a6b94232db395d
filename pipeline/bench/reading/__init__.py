"""What `deps bench data` measures: readers side by side, the start at a million samples, the wait of a training."""
