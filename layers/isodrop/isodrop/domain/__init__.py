"""What is decided, and the values it is decided with: pure, no AWS."""
