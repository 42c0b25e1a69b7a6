"""The engine: clean, train, quantize, compile, serve. No Django, no network, no environment but where it serves."""
