"""On which pixels the published accuracies of each family of supernets were measured.

All are on ImageNet's validation images, normalised by ImageNet's channel statistics (`augmentation.normalise`), whole
JPEGs decoded by PIL.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from data_shards.augmentation.crops import Interpolation
from data_shards.config import DataConfig
from pipeline.errors import UsageError


@dataclass(frozen=True)
class Convention:
    """How images of `resolution` pixels square are made of larger ones.

    The short side is resized to ⌈resolution / `crop`⌉ by `interpolation`, and the centre is cut out. `resolution` is
    the side of the images that the network is given (`Space.image_side`), which may resize them itself.
    """

    crop: float
    interpolation: Interpolation

    def applied_to(self, data: DataConfig) -> DataConfig:
        """`data`, evaluated by this convention.

        Raises:
            UsageError: `data` asks for what does not go with it.
        """
        keys = {"evaluation_crop": self.crop, "evaluation_interpolation": self.interpolation}
        try:
            return DataConfig.model_validate({**data.model_dump(), **keys})
        except ValidationError as error:
            raise UsageError(f"data: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


# By family. A network's name does not tell: AttentiveNAS and AlphaNet are two trainings of one space.
CONVENTIONS = {
    # Once-for-all (Cai et al., ICLR 2020), its authors' program: the short side to ⌈r / 0.875⌉, at each subnet's own r.
    "ofa": Convention(0.875, "bilinear"),
    # CompOFA (Sahni et al., ICLR 2021) and DεpS (ECCV 2024): their authors' programs evaluate as OFA's does.
    "compofa": Convention(0.875, "bilinear"),
    "deps": Convention(0.875, "bilinear"),
    # AttentiveNAS (Wang et al., CVPR 2021), its authors' program: the short side to 256, the centre 224 for every r,
    # which the network resizes, after normalising.
    "attentive_nas": Convention(0.875, "bilinear"),
    # AlphaNet (Wang et al., ICML 2021), its authors' program: as AttentiveNAS, the short side resized bicubic.
    "alpha_net": Convention(0.875, "bicubic"),
}
