"""The files of a run: folders, records and checkpoints, and how they are written and read again."""
