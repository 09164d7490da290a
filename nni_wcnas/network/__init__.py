"""An architecture as a plain network."""
