"""The adapters, named after the AWS services that they call."""
