#!/bin/sh
# Six methods on digits100, five seeds each, and the paper's claims about DεpS: results in recipes/results/digits100_methods.
# About three hours of two CPU cores. Needs `deps` on the PATH; start it in the project's folder. Started again, it goes on.
set -e
deps shards pack digits100 data/digits100
recipes=$(for method in deps ofa compofa bignas attentive alpha_net; do echo recipes/digits100_$method.yaml; done)
keys="engine.name=single data.validation_samples=1000 --seeds 5 --runs-at-once 2"
output=runs/digits100_methods
deps=recipes/digits100_deps.yaml
export OMP_NUM_THREADS=1
# All at equal training MACs, each at the best of six learning rates by validation images; the recipes have these rates.
deps compare $recipes $keys --equal-cost --choose schedule.learning_rate.base=0.05,0.1,0.2,0.4,0.8,1.6 --output $output/equal
# Each at its own length, in the proportions of the published ones.
deps compare $recipes $keys --output $output/own
# When shrinking is complete; with and without the ε ramp; and at the cost of OFA at its own length.
deps compare $deps $keys --equal-cost --vary schedule.full_model_warmup=50%,25%,75% --output $output/warmup
deps compare $deps $keys "evaluation.full_when_shrinking=10 steps" --vary schedule.epsilon_ramp=12.5%,0 --output $output/ramp
deps compare recipes/digits100_ofa.yaml $deps $keys --equal-cost --output $output/at_ofa_cost
