"""The training server: learn the source, generate, filter, fine-tune, publish."""

import os

# ONNX Runtime 1.32 reports usage to its maker unless told before its first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
