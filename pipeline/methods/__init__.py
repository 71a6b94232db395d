"""What each step of a run trains: phases, learning rates, subnets drawn, losses."""
