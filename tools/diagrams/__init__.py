"""The diagrams of the docs, drawn from what they show."""
