"""From a settings file to the parts of a trial: every mistake is found, all are told at once, everything is built."""
