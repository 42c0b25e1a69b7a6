"""What a trained model did on its held-out rows, as its job wrote it: read, checked, and made ready to be drawn."""
