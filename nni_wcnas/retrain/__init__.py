"""Training a found architecture from scratch: recipes, steps, checkpoints, and several devices."""
