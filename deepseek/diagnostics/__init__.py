"""What a model does on its held-out rows: curves, confusion, calibration, importance, and what is most wrong."""
