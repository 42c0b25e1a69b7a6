"""The engine: clean, train, quantize, compile, serve. No Django, no network, no environment but where it serves."""

import os

# ONNX Runtime's own builds keep a device's id and send events to their maker, from its import on; it reads this before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
