"""How training images are varied: cropped, mirrored and AutoAugmented by the reader; the rest is done on the device."""
