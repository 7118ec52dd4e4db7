"""Adapters, named after the AWS services that they call. The only modules that use boto3."""
