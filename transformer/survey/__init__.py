"""What a recipe's data look like, before they are trained on."""
