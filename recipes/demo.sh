#!/bin/sh
# The demo, from packed digits to a network that runs without this project: started by `make demo`, which sets up what it needs and the PATH.
set -e
PROCESSES=2

# A port that is free now: another run on this machine may hold DeepSpeed's own default.
PORT=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# One thread per process: two processes on two cores.
export OMP_NUM_THREADS=1

deps shards pack digits data/digits
deepspeed --num_gpus "$PROCESSES" --master_port "$PORT" --no_local_rank --log_level error --module pipeline.train recipes/digits.yaml data.validation_samples=200 --resume
deps evaluate runs/digits
deps search runs/digits --evaluations 40 --limit macs=2.5M
deps report runs/digits
SUBNET=$(python -c 'import json; print(json.load(open("runs/digits/search/front.json"))["front"][-1]["subnet"])')
rm -rf runs/digits/deployed
deps export runs/digits --subnet "$SUBNET" --output runs/digits/deployed
cat <<'TEXT'

Look at
  runs/digits/report/report.html                 the report: open it in a browser
  .venv/bin/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///mlruns/mlflow.db
                                                 the run in MLflow, at http://127.0.0.1:5000
  runs/digits/deployed/card.md                   the exported network, and how to run it
Train on, with other values
  .venv/bin/deps train recipes/digits.yaml name=digits-1 seed=1 engine.name=single
TEXT
