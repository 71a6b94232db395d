"""The subcommands of `deps` that are more than a line, one file each."""
