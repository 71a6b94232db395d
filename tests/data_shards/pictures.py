"""Pictures made for tests: no two alike, with shades, colours, edges and a little noise, as photographs have."""

from typing import ClassVar

import cv2
import numpy as np
import simplejpeg

from data_shards.sources import Sample


def photo(height: int, width: int, number: int = 0) -> np.ndarray:
    """uint8 RGB [height, width, 3]: a sky, a ground and a few things between, of colours and places by `number`."""
    generator = np.random.default_rng(number)
    down = np.linspace(0, 1, height)[:, None, None]
    sky, ground = generator.uniform(90, 230, 3), generator.uniform(20, 160, 3)
    scene = np.broadcast_to(sky * (1 - down) + ground * down, (height, width, 3)).copy()
    for _ in range(6):
        colour = generator.uniform(0, 255, 3).tolist()
        centre = (int(generator.integers(width)), int(generator.integers(height)))
        size = int(min(height, width) * generator.uniform(0.08, 0.3))
        if generator.random() < 0.5:
            cv2.circle(scene, centre, size, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(scene, centre, (centre[0] + size, centre[1] + 2 * size), colour, -1)
    scene += generator.normal(0, 4, scene.shape)
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


class Photos:
    """A source of `photo`s of various sizes, in four classes, to pack."""

    name = "photos"
    classes = ("north", "east", "south", "west")
    options: ClassVar[dict] = {}
    folders = ()

    def __init__(self, train: int, test: int):
        self.splits = {"train": train, "test": test}

    def identity(self, split, positions):
        return b""

    def samples(self, split, positions):
        for number in positions.tolist():
            height, width = 60 + 7 * (number % 9), 70 + 11 * (number % 5)
            image = photo(height, width, number + 1000 * (split == "test"))
            yield Sample(simplejpeg.encode_jpeg(image, quality=95), number % 4, height, width)
