"""What can be verified in a real account before the first build, at almost no cost."""
