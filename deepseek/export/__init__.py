"""Write a trained model in forms that other programs open."""
