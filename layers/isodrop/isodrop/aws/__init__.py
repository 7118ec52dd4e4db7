"""The adapters, named after the AWS services that they call."""

import gc

# The SDK, its clients and the models of what it answers stay: looking for garbage among them while
# they are made is a tenth of a cold start. Afterwards there is little to find.
gc.set_threshold(50_000)
