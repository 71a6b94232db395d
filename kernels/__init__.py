"""Channel-slicing operations of elastic layers: the plain PyTorch truth and, beside it, the fused kernels."""

DISTRIBUTION = "delayed-epsilon-shrinking"
