"""moto's S3, as it is patched, copies an object in parts as S3 does."""

import boto3
import pytest

from isodrop_local.s3_multipart import Behavior
from tests.integration.conftest import BUCKET
from tests.support.s3_copy import S3CopyTests, S3Setup


class TestMoto(S3CopyTests):
    @pytest.fixture
    def s3_setup(self, session: boto3.Session, s3_behavior: Behavior) -> S3Setup:
        s3 = session.client("s3")
        s3.create_bucket(
            Bucket="copies", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )

        def put(key: str, body: bytes) -> tuple[str, str]:
            made = s3.put_object(Bucket=BUCKET, Key=key, Body=body)
            return made["VersionId"], made["ETag"]

        def set_behavior(**what: bool) -> None:
            for name, value in what.items():
                setattr(s3_behavior, name, value)

        return S3Setup(s3, BUCKET, "copies", put, set_behavior)
