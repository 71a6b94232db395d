"""What `deps bench search` measures: searches of a supernet whose accuracies are a formula, side by side."""
