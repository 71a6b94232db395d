"""The processes of a run: how they were started, how they agree, and what tells that one is lost."""
