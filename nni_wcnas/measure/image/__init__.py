"""What generated images are worth."""
