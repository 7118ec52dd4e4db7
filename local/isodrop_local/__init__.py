"""Runs the template on one machine: on MiniStack, with a fake Image Builder."""
