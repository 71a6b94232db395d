"""From a subnet to files that run without this project: ONNX, INT8 behind a gate, torch.export, and their card."""
