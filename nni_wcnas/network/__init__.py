"""A found architecture as a plain PyTorch network: its cells stacked, computed fast, loaded and exported."""
