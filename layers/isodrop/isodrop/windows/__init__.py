"""Knowledge about Windows: its releases, and the file names of its ISOs. Pure."""
