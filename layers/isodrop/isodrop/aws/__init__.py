"""Adapters for AWS services, and the clients that they use."""
