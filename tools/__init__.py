"""The repository's own tools: the Makefile runs them."""
