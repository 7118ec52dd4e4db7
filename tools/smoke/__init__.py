"""One real import on a deployed stack, to see what no documentation says: ``make smoke``."""
