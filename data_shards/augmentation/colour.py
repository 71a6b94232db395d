"""Constants of colour: how bright each channel looks, and the mean colour of natural images."""

import numpy as np

# How bright red, green and blue look: the luma of ITU-R BT.601, as PIL's conversion to grey has it.
LUMA = np.array([0.299, 0.587, 0.114])

# ImageNet's mean, in 0 … 255. Where an image has nothing to show, it is filled with this colour.
MEAN_COLOUR = (123.675, 116.28, 103.53)
