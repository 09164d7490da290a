"""What a network does, at its worst above all."""
