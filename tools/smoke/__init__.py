"""One real import on a deployed stack, to verify undocumented behavior: ``make smoke``."""
