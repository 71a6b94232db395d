"""From encoded images to cropped, resized, mirrored uint8 images: on the CPU, or by DALI."""
