#!/bin/sh
# The ε ramp's effect: digits100 with and without it, three seeds each, two runs at a time: the paired differences, and
# a report of all runs. About 25 minutes on two CPU cores. Needs `deps` on the PATH; start it in the project's folder.
set -e
deps shards pack digits100 data/digits100
deps compare recipes/digits100_deps.yaml engine.name=single space.resolutions=[32] batch_size=64 schedule.learning_rate.base=0.1 \
    "schedule.duration=8 epochs" "evaluation.full_when_shrinking=10 steps" \
    --vary "schedule.epsilon_ramp=1 epochs,0 steps" --seeds 3 --runs-at-once 2 --output runs/digits100_ramp
deps report runs/digits100_ramp/runs/* --output runs/digits100_ramp/report
