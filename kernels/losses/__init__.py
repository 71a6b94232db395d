"""What networks learn from: losses over logits, in plain PyTorch and in Triton."""
