"""Adapters, named after the AWS services that they call. The only modules that use boto3."""

import gc

# The SDK, its clients and service models are kept for the life of the process. Garbage collection
# while they are created takes a tenth of a cold start, and finds little afterwards.
gc.set_threshold(50_000)
