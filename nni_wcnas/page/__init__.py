"""Charts, drawings and pages: all that becomes HTML."""
