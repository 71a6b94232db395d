#!/bin/sh
# The ε ramp's effect: digits100 with and without it, three seeds each, two runs at a time, and one report of all.
# About 25 minutes on two CPU cores. Needs `deps` on the PATH; start it in the project's folder.
set -e
export OMP_NUM_THREADS=1
deps shards pack digits100 data/digits100

train() {
    seed=$1 name=$2 approach=$3 ramp=$4
    echo "deps train recipes/digits100_deps.yaml --resume engine.name=single seed=$seed name=$name-$seed \
        'approach=$approach' 'schedule.epsilon_ramp=$ramp' && deps evaluate runs/$name-$seed"
}
for seed in 0 1 2; do
    train $seed digits100_ramp DεpS '1 epochs'
    train $seed digits100_no_ramp 'without ramp' '0 steps'
done | tr '\n' '\0' | xargs -0 -P 2 -n 1 sh -c

deps report runs/digits100_ramp-? runs/digits100_no_ramp-? --output runs/report_digits100_ramp
