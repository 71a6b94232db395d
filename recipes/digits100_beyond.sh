#!/bin/sh
# Beyond the paper: what makes DεpS better on digits100 at equal training MACs. Each step chooses on validation images, two
# seeds; what comes out, recipes/digits100_late_deps.yaml, is compared with DεpS on other seeds and the test split.
# Result in recipes/results/digits100_methods. About 40 minutes of two CPU cores. Needs `deps` on the PATH; start it in the
# project's folder. Started again, it goes on.
set -e
deps shards pack digits100 data/digits100
deps=recipes/digits100_deps.yaml
keys="engine.name=single data.validation_samples=1000 --runs-at-once 2"
# As many training MACs as four epochs of DεpS.
chosen="$deps $keys --training-macs 417950926848 --choose-seeds 2 --seeds 1"
output=runs/digits100_beyond
export OMP_NUM_THREADS=1
deps compare $chosen --choose schedule.random_subnets=2,1,0 --output $output/random_subnets
deps compare $chosen --choose loss.label_smoothing=0.1,0 --output $output/label_smoothing
deps compare $chosen "loss.soft={name: alpha}" --choose schedule.learning_rate.base=0.4 --output $output/alpha
deps compare $chosen "schedule.sampling={name: attentive, pick: best}" --choose schedule.learning_rate.base=0.4 \
    --output $output/best_up
deps compare $chosen schedule.random_subnets=1 --choose optimizer.gradient_clip=1,4 --output $output/gradient_clip
deps compare $chosen schedule.random_subnets=1 --choose schedule.full_model_warmup=50%,75%,87.5% --output $output/warmup
deps compare $deps recipes/digits100_late_deps.yaml $keys --equal-cost --seeds 5 --output $output/confirmed
