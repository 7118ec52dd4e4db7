"""isodrop: drop a Windows ISO into a bucket, get an AMI, hear about it on EventBridge."""

__version__ = "0.1.0"
