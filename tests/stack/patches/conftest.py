"""An emulator for the tests of its patches."""

from collections.abc import Iterator

import pytest

from isodrop_local.stack import EmulatedStack


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedStack]:
    with EmulatedStack(wait_scale=0.01, files=[tmp_path_factory.getbasetemp()]) as started:
        started.create_role("any", {"Effect": "Allow", "Action": "*", "Resource": "*"})
        yield started


@pytest.fixture(scope="module")
def bucket(emulator: EmulatedStack) -> str:
    """A versioned bucket with notifications to EventBridge."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="uploads")
    s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    return "uploads"
