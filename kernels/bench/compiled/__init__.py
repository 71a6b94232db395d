"""What Triton's kernels become and what they would take, by their compiler and by arithmetic: no GPU is needed."""
