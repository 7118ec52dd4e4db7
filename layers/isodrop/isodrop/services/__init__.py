"""The use cases: what happens to an upload, in the order in which it happens."""
