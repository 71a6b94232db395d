"""Writes data/plans.json.gz: what each recipe, and each ablation, trains in its steps."""

import random

from tests.before import recorded, today
from tests.support.forked_program import REPOSITORY

RECIPES = sorted(path.stem for path in (REPOSITORY / "recipes").glob("*.yaml"))
# digits100_deps as it was when this was recorded.
LONGER = (
    "batch_size=64",
    "space.resolutions=[32]",
    "schedule.duration=8 epochs",
    "schedule.epsilon_ramp=1 epochs",
    "schedule.learning_rate.base=0.1",
)
ABLATIONS = {
    "no ramp": ("digits", "schedule.epsilon_ramp=0"),
    "no warm-up": ("digits", "schedule.full_model_warmup=0", "schedule.epsilon_ramp=0"),
    "ramp from the start": ("digits", "schedule.full_model_warmup=4 epochs"),
    "full model alone": ("digits", "schedule.full_model_warmup=100%", "schedule.epsilon_ramp=0"),
    "not sorted": ("digits", "schedule.reorganise=false"),
    "no distillation": ("digits", "schedule.distillation=off"),
    "no random subnets": ("digits", "schedule.random_subnets=0"),
    "four random subnets": ("digits", "schedule.random_subnets=4"),
    "several resolutions": ("imagenet1k_deps", "space.resolutions=[128,160,192,224]"),
    "width 1.2": ("imagenet100_deps", "space.width=1.2", "space.kernels=[3,5,7]"),
    "another space": ("cifar10_deps", "space.depths=[2,4]", "space.expands=[6,3]", "space.kernels=[5,3]"),
    "another seed": ("digits100_deps", *LONGER, "seed=4294967295"),
    "exponential": ("digits", "schedule.learning_rate={base: 0.2, decay: exponential, warmup: 2 epochs}"),
    "constant": ("digits", "schedule.learning_rate={base: 0.05, decay: constant}", "schedule.duration=333 steps"),
}
CASES = {recipe: (recipe,) for recipe in RECIPES} | {"digits100_deps": ("digits100_deps", *LONGER)} | ABLATIONS


def main() -> None:
    content = {}
    for name, (recipe, *overrides) in CASES.items():
        schedule = today.schedule(REPOSITORY / "recipes" / f"{recipe}.yaml", overrides)
        ends = {edge for _, start, end in today.phases(schedule) for edge in (start, end - 1)}
        lot = random.Random(name).sample(range(schedule.steps), 200 if name == recipe else 50)
        plans = {step: today.plan(schedule, step) for step in sorted({*ends, *lot})}
        content[name] = {"recipe": recipe, "overrides": overrides, "phases": today.phases(schedule), "plans": plans}
    recorded.write("plans", content)


if __name__ == "__main__":
    main()
