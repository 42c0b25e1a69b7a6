"""Predict for every row of a table with a trained model."""
