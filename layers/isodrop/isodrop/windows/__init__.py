"""What is known of Windows: its releases, and how people name its ISOs. Pure."""
