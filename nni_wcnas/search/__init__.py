"""The training step of a search, and what stands around it."""
