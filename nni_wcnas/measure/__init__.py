"""Measures of a trained network, above all of how it behaves at its worst."""
