"""What subnets will score, predicted from what they choose: for sampling in training, and for search."""
