"""The recipe: every component's configuration in one, and how it is read from YAML."""
