"""``sam local invoke`` for real: its engine, its image, and the walk through all of it."""
