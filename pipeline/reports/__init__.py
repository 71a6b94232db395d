"""The report of one or several runs: what was reached, what it cost, and how it came about."""
