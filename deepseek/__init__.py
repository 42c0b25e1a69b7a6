"""The engine: cleaning now, training, quantizing and compiling later. No Django, no network, no environment."""
