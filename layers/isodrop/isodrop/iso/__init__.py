"""Reads the contents of an ISO (UDF and WIM) with a bounded number of ranged reads. Pure."""
