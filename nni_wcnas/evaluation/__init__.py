"""What becomes of a found architecture: retraining, measures, drawings, records and reports."""
