#!/bin/sh
# What fine-tuning gains: the supernet of recipes/digits100_deps.yaml, one of its subnets trained 1 and 5 epochs further,
# from labels alone and from the full model as well, five seeds each; 0 epochs are the supernet's own weights.
# Time not measured yet. Needs `deps` on the PATH; start it in the project's folder. Started again, it goes on.
set -e
deps shards pack digits100 data/digits100
runs=runs/digits100_finetune
deps train recipes/digits100_deps.yaml engine.name=single runs=$runs name=supernet data.validation_samples=1000 --resume
for subnet in d1-k3-e3-r16 d2-k5-e4-r16; do
    for epochs in 1 5; do
        for seed in 0 1 2 3 4; do
            deps finetune $runs/supernet --subnet $subnet "schedule.duration=$epochs epochs" seed=$seed \
                name=labels-$subnet-$epochs-$seed --resume
            deps finetune $runs/supernet --subnet $subnet "schedule.duration=$epochs epochs" seed=$seed \
                name=taught-$subnet-$epochs-$seed --teacher --resume
        done
    done
done
python3 - $runs <<'END'
import json, pathlib, statistics, sys

found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/finetuning.json")):
    run = json.loads(path.read_text(encoding="utf-8"))
    learned = "labels, full model" if run["kd_ratio"] else "labels"
    found.setdefault((run["subnet"], "0 epochs", "-"), []).append(run["before"]["test_top1"])
    found.setdefault((run["subnet"], run["duration"], learned), []).append(run["after"]["test_top1"])
print("| subnet | fine-tuned | from | top-1 on the test split, % | gain, points | seeds |\n|---|---|---|---:|---:|---:|")
for (subnet, duration, learned), values in sorted(found.items()):
    before = found[subnet, "0 epochs", "-"][0]
    if duration == "0 epochs":
        print(f"| {subnet} | - | - | {before:.2f} | | |")
        continue
    mean, deviation = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    print(f"| {subnet} | {duration} | {learned} | {mean:.2f} ± {deviation:.2f} | {mean - before:+.2f} | {len(values)} |")
END
