"""From encoded images to cropped, resized and mirrored uint8 images: through Python libraries, or by DALI."""
