"""What a trained model is, in every form it takes: its manifest, its network, its figures, and how it is loaded."""
