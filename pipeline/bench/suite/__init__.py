"""What `make gpu` runs on a machine with a GPU: its environment, its parts, each under a limit, and their page."""
