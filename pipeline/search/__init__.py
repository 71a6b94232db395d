"""Search of a trained supernet: which of its subnets are the most accurate at their cost."""
