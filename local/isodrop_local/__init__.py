"""The template on one machine: MiniStack with an Image Builder of our own beside it."""
