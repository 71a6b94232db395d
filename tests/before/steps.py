"""Five steps of digits on one process by plain PyTorch: two of the full model, two in the ramp, one after it.

Of a hundred seeds these are the ones in which importances of channels differ most before they are sorted, by 1.6e-5 at
least, so that they are sorted alike on every processor.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tests.before.recorded import tensors_in
from tests.support.command_line import deps

FIVE = (
    "engine.name=single",
    "kernels=reference",
    "tracking.mlflow=false",
    "optimizer.weight_decay=0.001",
    "schedule.duration=5 steps",
    "schedule.full_model_warmup=4 steps",
    "schedule.epsilon_ramp=2 steps",
    "schedule.learning_rate={base: 0.1}",
    "evaluation={every: 100 steps, recalibration_samples: 64}",
)
CASES = {
    "as the recipe": ("seed=87",),
    "with all there is": (
        "seed=58",
        "space.kernels=[3,5,7]",
        "space.resolutions=[24,32]",
        "data.augmentation.flip=true",
        "data.augmentation.mixup=0.2",
        "data.augmentation.cutmix=1",
        "data.augmentation.random_erasing.probability=0.5",
        "data.augmentation.colour_jitter=[0.4, 0.4, 0.4, 0.1]",
        "optimizer.gradient_clip=1",
        "loss.temperature=2",
        "schedule.random_subnets=1",
    ),
}


def state_after(case: str, shards: Path, runs: Path) -> dict[str, Tensor]:
    """Weights and momentum after five steps, trained in `runs`."""
    done = deps("train", "recipes/digits.yaml", f"runs={runs}", f"data.shards={shards}", *FIVE, *CASES[case])
    assert done.returncode == 0, done
    return tensors_in(runs / "digits" / "checkpoints" / "step-000000005.safetensors")
