"""Decisions about uploads, and the values that they use. Pure: no AWS."""
