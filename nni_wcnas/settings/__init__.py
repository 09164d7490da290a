"""From a settings file to a trial: every mistake found, all told at once, everything built."""
