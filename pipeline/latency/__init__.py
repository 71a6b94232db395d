"""How long a subnet takes on the runtime where it will run: blocks timed as graphs of their own, and their sums."""
