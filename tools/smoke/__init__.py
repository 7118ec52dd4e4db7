"""One real import on a deployed stack, to verify what is not documented: ``make smoke``."""
