"""Elastic networks: what may vary, the weight-shared network, its subnets as plain networks."""
