"""One adapter for each AWS service; the only code of the layer that calls AWS."""
