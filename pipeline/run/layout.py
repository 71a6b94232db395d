"""What lies in a run's folder, `runs/NAME`: every name once. Whoever reads or writes a file knows what is in it.

A run may be moved and copied as a folder: nothing in it but `outbox.jsonl` tells of places outside.
"""

from __future__ import annotations

# What the run is, from its start on (`pipeline/run`).
CONFIG = "config.yaml"  # the resolved recipe
RUN = "run.json"  # its description: phases, data, machine
DIVERGED = "diverged.json"  # its last start ended at a loss that is not finite
LOCK = "run.lock"  # held by the process that trains it

# What it measured and cost (`pipeline/tracking`), and the samples that it had to skip (`pipeline/training`).
METRICS = "metrics.jsonl"
LEDGER = "ledger.json"
HELD = "held.txt"  # noted by the script of a job (`cluster`), which sees the end of what the ledger sees the start of
DAMAGE = "damage.json"

# What MLflow is to get besides metrics, what it has, and who is sending it (`pipeline/tracking`).
OUTBOX = "outbox.jsonl"
MLFLOW = "mlflow.json"
MLFLOW_LOCK = "mlflow.lock"

# What was trained: on the way (`pipeline/checkpoints`), and at the end (`pipeline/supernet`).
CHECKPOINTS = "checkpoints"
WEIGHTS = "supernet.safetensors"
SPACE = "supernet.json"
BESIDES = "published.safetensors"  # beside imported ones, for the way back (`pipeline/published`)
CARD = "README.md"  # beside a supernet that is to be published (`deps card`)

# What is made of it later (`deps evaluate`, `deps finetune`, `deps report`, `deps search`).
EVALUATION = "evaluation.json"
VALIDATION = "validation.json"  # the same on validation images
FINETUNING = "finetuning.json"  # of a run that fine-tuned a subnet: its accuracy before and after
REPORT = "report"
SEARCH = "search"  # in it:
EVALUATIONS = "evaluations.jsonl"  # all subnets that searches have measured
FRONT = "front.json"  # the most accurate ones at their cost, by the last search
FRONT_PLOT = "front.svg"
PREDICTOR = "predictor.json"  # of accuracy, fitted to the last search's
