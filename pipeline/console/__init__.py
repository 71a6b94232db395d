"""How the program speaks: streams of any kind, tables, failures in one line with an exit code."""
