"""isodrop: upload a Windows ISO to an S3 bucket, get an AMI and an event on EventBridge."""

__version__ = "0.1.0"
