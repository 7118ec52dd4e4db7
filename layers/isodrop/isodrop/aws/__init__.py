"""Adapters, named after the AWS services that they call, and the clients that they use."""
