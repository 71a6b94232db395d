"""Files that are whole or not there, and say so when they are damaged."""
