"""The diagrams of the docs, drawn from their sources."""
