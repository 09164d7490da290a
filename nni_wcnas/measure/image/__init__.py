"""Measures of generated images: how realistic, diverse and recognisable they are, and how hard."""
