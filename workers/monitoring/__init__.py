"""What workers compute for the monitors of models."""
