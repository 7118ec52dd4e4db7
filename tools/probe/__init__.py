"""What can be asked of a real account before the first build, at no cost to speak of."""
