"""What a run cost and measured: the ledger, the metrics file, and their copy in MLflow."""
