"""Run folders, records and checkpoints: all that is written and read again."""
