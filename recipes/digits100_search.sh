#!/bin/sh
# What search gains on supernets with five resolutions, three seeds: for each subnet of the uniform row, the best searched
# one of no more MACs by 4,000 validation images, against it on these and on the test split. Result in
# recipes/results/digits100_search. About 25 minutes of one CPU core. Needs `deps` on the PATH; start it in the project's
# folder. Started again, it goes on.
set -e
deps shards pack digits100 data/digits100 >&2
runs=runs/digits100_search
export OMP_NUM_THREADS=1
for seed in 0 1 2; do
    deps train recipes/digits100_deps.yaml engine.name=single data.validation_samples=4000 \
        "space.resolutions=[16,20,24,28,32]" batch_size=64 "schedule.duration=10 epochs" \
        schedule.learning_rate.base=0.2 runs=$runs name=elastic-$seed seed=$seed --resume >&2
    deps search $runs/elastic-$seed --evaluations 250 >&2
done
python3 - $runs <<'END'
import json, pathlib, statistics, sys

T = {2: 12.706, 3: 4.303, 5: 2.776}  # Student's t, 95 %, by the number of seeds
searches = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("elastic-?/search/front.json"))]
gains = {}
for found in searches:
    for uniform in found["uniform"]:
        best = [each for each in found["front"] if each["macs"] <= uniform["macs"]][-1]
        of_row = gains.setdefault((uniform["macs"], uniform["subnet"]), {"test": []})
        of_row["test"].append(uniform["test_top1"])
        for images in ("validation_top1", "test_top1"):
            of_row.setdefault(images, []).append(best[images] - uniform[images])
print("| limit, MACs | subnet of the uniform row | its top-1 on the test split, % | searched, on validation, points | on the test split, points | 95 % interval |")
print("|---:|---|---:|---:|---:|---:|")
for (macs, subnet), of_row in sorted(gains.items()):
    test = of_row["test_top1"]
    mean, half = statistics.mean(test), T[len(test)] * statistics.stdev(test) / len(test) ** 0.5
    row = statistics.mean(of_row["test"])
    validation = statistics.mean(of_row["validation_top1"])
    print(f"| {macs:,} | {subnet} | {row:.2f} | {validation:+.2f} | {mean:+.2f} | {mean - half:+.2f} … {mean + half:+.2f} |")
errors, ranks = ([found["predictor"][name] for found in searches] for name in ("error_points", "rank_correlation"))
print(f"\nThe predictor, of subnets left out of its fit: error {statistics.mean(errors):.2f} points, rank correlation {statistics.mean(ranks):.2f}; means of {len(searches)} searches of 250 evaluations.")
END
