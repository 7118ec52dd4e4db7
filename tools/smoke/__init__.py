"""One real import on a deployed stack, to verify undocumented behaviour: ``make smoke``."""
