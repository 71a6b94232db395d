"""Run folders as training leaves them, with invented figures that behave like real ones."""

import json

import numpy as np

from pipeline.tracking.ledger import TRAINING_MACS, cost_metric
from pipeline.tracking.metrics import MetricsLog

SUBNETS = [
    ("d2-k3-e3-r32", "smallest", 12_300_000, 410_000, 0.0),
    ("d2-k5-e4-r32", "small", 19_800_000, 560_000, 0.45),
    ("d3-k5-e4-r32", "middle", 27_100_000, 790_000, 0.68),
    ("d3-k5-e6-r32", "large", 39_400_000, 1_130_000, 0.88),
    ("d4-k7-e6-r32", "full", 54_200_000, 1_620_000, 1.0),
]


def make_run(
    folder,
    approach="DεpS",
    seed=1,
    epochs=20,
    steps_per_epoch=50,
    full_model_epochs=10,
    ramp_epochs=3,
    dip=3.0,
    smallest=90.0,
    full=96.0,
    unit="CPU process hours",
    price=None,
    hours=1.2,
    macs=4_200_000_000_000_000,
    evaluated=True,
    stop_at=None,
    others=(),
):
    """Write a run folder; `dip` is what the full model loses when shrinking begins, accuracies are the final ones.

    `others` are subnets outside the Pareto row: (subnet, MACs, top-1).
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    steps, start = epochs * steps_per_epoch, full_model_epochs * steps_per_epoch
    ramp_end = start + ramp_epochs * steps_per_epoch
    phases = [("full model", 0, start), ("ramp", start, ramp_end), ("supernet", ramp_end, steps)]
    run = {
        "name": folder.name,
        "approach": approach,
        "seed": seed,
        "steps": steps,
        "steps_per_epoch": steps_per_epoch,
        "epochs": epochs,
        "batch_size": 64,
        "world_size": 2,
        "engine": "deepspeed",
        "dataset": "digits100",
        "classes": 100,
        "phases": [{"name": name, "start": a, "end": b} for name, a, b in phases],
        "versions": {"python": "3.11.2", "torch": "2.13.0", "deepspeed": "0.19.8"},
        "machine": "2 CPU cores, 8 GB",
        "started": "2026-11-20T08:00:00+00:00",
    }
    (folder / "run.json").write_text(json.dumps(run))
    recipe = f"name: {folder.name}\nseed: {seed}\nschedule:\n  epsilon_ramp: {ramp_epochs} epochs\n"
    (folder / "config.yaml").write_text(recipe)
    log = MetricsLog(folder / "metrics.jsonl")
    noise = generator.normal(0, 0.25, 3)
    for step in range(5, (stop_at or steps) + 1, 5):
        progress = step / steps
        values = {
            "loss/full": 4.6 * np.exp(-4 * progress) + 0.15 + abs(generator.normal(0, 0.05)),
            "optim/lr": 0.05 * (1 + np.cos(np.pi * progress)),
            "optim/epsilon": float(np.clip((step - start) / max(1, ramp_end - start), 0, 1)),
            "optim/gradient_norm": 1 + generator.random(),
            cost_metric(unit): hours * progress,
            "data/wait_fraction": 0.03,
            "speed/images_per_second": 210.0,
        }
        if macs is not None:
            values[TRAINING_MACS] = macs * progress
        if price is not None:
            values["cost/dollars"] = price * hours * progress
        if step > start:
            values["loss/smallest"] = 0.6 + 2.5 * np.exp(-6 * (step - start) / (steps - start))
            values["loss/random"] = 0.5 + 2.0 * np.exp(-6 * (step - start) / (steps - start))
        if step % 25 == 0:
            since = (step - start) / steps_per_epoch
            loss_of_shrinking = dip * since * np.exp(1 - since) if since > 0 else 0.0
            values["acc/full"] = full * (1 - 0.6 * np.exp(-9 * progress)) - loss_of_shrinking + noise[0]
            values["acc/smallest"] = 1.0 if step <= start else smallest * (1 - np.exp(-0.8 * since)) + noise[1]
        log.log(step, {name: float(value) for name, value in values.items()})
    held = hours * 3600 / 2
    shares = {"full model": 0.25, "ramp": 0.12, "supernet": 0.45, "data_wait": 0.04, "evaluation": 0.07}
    segment = {"started": run["started"], "accelerators": 2, "held": held}
    segment["seconds"] = {name: held * share for name, share in {**shares, "checkpoint": 0.01}.items()}
    segment |= {} if macs is None else {"training_macs": macs}
    ledger = {"unit": unit, "price_per_hour": price, "segments": [segment]}
    (folder / "ledger.json").write_text(json.dumps(ledger))
    if evaluated:
        rows = [
            {
                "subnet": text,
                "name": name,
                "pareto": True,
                "macs": macs,
                "params": params,
                "top1": smallest + (full - smallest) * gain + float(noise[2]),
                "top5": 99.0,
                "loss": 0.4,
            }
            for text, name, macs, params, gain in SUBNETS
        ]
        for text, macs, top1 in others:
            own = {"subnet": text, "name": text, "pareto": False, "macs": macs, "top1": top1}
            rows.append({"params": 500_000, "top5": 99.0, "loss": 0.4, **own})
        (folder / "evaluation.json").write_text(json.dumps(rows))
    return folder
