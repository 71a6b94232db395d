"""How training images are varied: by the reader before they are a batch, and on the device after."""
