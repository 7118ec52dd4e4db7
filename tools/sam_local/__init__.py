"""Runs ``sam local invoke`` of every function: the engine, the image, and the steps."""
