"""Training a found network by a recipe."""
