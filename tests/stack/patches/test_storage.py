"""Objects on the emulator behave as in S3, where it matters to isodrop."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from isodrop_local.stack import EmulatedStack


def test_keys_that_no_xml_can_hold_are_listed(emulator: EmulatedStack, bucket: str) -> None:
    """S3 encodes keys as URLs if the client requests it, as boto3 does, which decodes them."""
    s3 = emulator.client("s3")
    key = "odd/\x1b[31m\n +%41é.iso"
    s3.put_object(Bucket=bucket, Key=key, Body=b"")

    listed = s3.list_object_versions(Bucket=bucket, Prefix="odd/")

    assert (listed["Prefix"], [each["Key"] for each in listed["Versions"]]) == ("odd/", [key])


class TestStorage:
    @pytest.fixture
    def received(self, emulator: EmulatedStack, bucket: str) -> Any:
        """A function that waits for EventBridge's events of ISOs in the bucket."""
        sqs, events = emulator.client("sqs"), emulator.client("events")
        queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        known = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        pattern = {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": {"name": [bucket]},
                "object": {"key": [{"suffix": {"equals-ignore-case": ".iso"}}]},
            },
        }
        rule = f"r-{uuid.uuid4().hex[:8]}"
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        target = {"Id": "q", "Arn": known["Attributes"]["QueueArn"]}
        events.put_targets(Rule=rule, Targets=[target])

        def wait_for_events(number: int) -> list[dict[str, Any]]:
            got: list[dict[str, Any]] = []

            def enough() -> bool:
                messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
                for message in messages.get("Messages", []):
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                    got.append(json.loads(message["Body"]))
                return len(got) >= number

            emulator.wait_for(enough, 5)
            return got

        return wait_for_events

    def test_an_upload_s_event_has_the_raw_key_and_the_version(
        self, emulator: EmulatedStack, bucket: str, received: Any
    ) -> None:
        key = "a folder/Win 11+ü%2B.Iso"
        put = emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=b"12345")
        emulator.client("s3").put_object(Bucket=bucket, Key="not.iso.txt", Body=b"")
        (event,) = received(1)
        described = event["detail"]["object"]
        assert described["key"] == key
        assert described["version-id"] == put["VersionId"]
        assert described["etag"] == put["ETag"].strip('"')
        assert described["size"] == 5
        assert event["detail"]["reason"] == "PutObject"
        assert event["source"] == "aws.s3"
        assert event["resources"] == [f"arn:aws:s3:::{bucket}"]

    def test_sequencers_of_one_key_rise(
        self, emulator: EmulatedStack, bucket: str, received: Any
    ) -> None:
        for body in (b"1", b"2", b"3"):
            emulator.client("s3").put_object(Bucket=bucket, Key="again.iso", Body=body)
        events = sorted(received(3), key=lambda event: event["detail"]["object"]["sequencer"])
        etags = [event["detail"]["object"]["etag"][:4] for event in events]
        assert etags == ["c4ca", "c81e", "eccb"]

    def test_a_multipart_upload_is_marked_in_its_event(
        self, emulator: EmulatedStack, bucket: str, received: Any
    ) -> None:
        s3 = emulator.client("s3")
        upload = s3.create_multipart_upload(
            Bucket=bucket, Key="big.iso", Metadata={"image-name": "mine"}
        )
        which = {"Bucket": bucket, "Key": "big.iso", "UploadId": upload["UploadId"]}
        part = s3.upload_part(**which, PartNumber=1, Body=b"x" * 10)
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
        (event,) = received(1)
        assert event["detail"]["reason"] == "CompleteMultipartUpload"
        assert event["detail"]["object"]["etag"].endswith("-1")
        assert s3.head_object(Bucket=bucket, Key="big.iso")["Metadata"] == {"image-name": "mine"}

    def test_a_file_put_in_by_reference_is_read_in_place(
        self, emulator: EmulatedStack, bucket: str, received: Any, tmp_path: Path
    ) -> None:
        """Six sparse gigabytes are added at once, and no process grows by them."""
        size = 6 << 30
        with (tmp_path / "huge.iso").open("wb") as file:
            file.truncate(size)
            file.seek(5 << 30)
            file.write(b"here")
        request = {"bucket": bucket, "key": "huge.iso", "path": str(tmp_path / "huge.iso")}
        emulator.control("objects", {**request, "metadata": {"edition": "Enterprise"}})
        (event,) = received(1)
        described = event["detail"]["object"]
        assert (described["size"], event["detail"]["reason"]) == (size, "CompleteMultipartUpload")
        etag = described["etag"]
        begin = 5 << 30
        response = emulator.client("s3").get_object(
            Bucket=bucket, Key="huge.iso", Range=f"bytes={begin}-{begin + 3}", IfMatch=etag
        )
        assert response["Body"].read() == b"here"
        assert response["ContentRange"] == f"bytes {begin}-{begin + 3}/{size}"
        assert response["VersionId"] == described["version-id"]
        assert response["Metadata"] == {"edition": "Enterprise"}
        head = emulator.client("s3").head_object(Bucket=bucket, Key="huge.iso", IfMatch=etag)
        assert head["ContentLength"] == size

    def test_a_whole_file_put_in_by_reference_is_streamed(
        self, emulator: EmulatedStack, bucket: str, tmp_path: Path
    ) -> None:
        (tmp_path / "small.iso").write_bytes(b"ab" * 3_000_000)
        request = {"bucket": bucket, "key": "small.iso", "path": str(tmp_path / "small.iso")}
        emulator.control("objects", request)
        response = emulator.client("s3").get_object(Bucket=bucket, Key="small.iso")
        assert response["Body"].read() == b"ab" * 3_000_000

    def test_a_head_of_a_part_returns_its_size_and_the_number_of_parts(
        self, emulator: EmulatedStack, bucket: str
    ) -> None:
        s3 = emulator.client("s3")
        which = {"Bucket": bucket, "Key": "parts"}
        upload = which | {"UploadId": s3.create_multipart_upload(**which)["UploadId"]}
        parts = [
            {"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
            for n, body in ((1, b"x" * (5 << 20)), (2, b"xx"))
        ]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        whole, part = s3.head_object(**which), s3.head_object(**which, PartNumber=2)
        assert (whole["ContentLength"], "PartsCount" in whole) == ((5 << 20) + 2, False)
        assert (part["ContentLength"], part["PartsCount"]) == (2, 2)
        assert part["ETag"] == whole["ETag"]
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206

    def test_ranges_and_preconditions_work_as_in_s3(
        self, emulator: EmulatedStack, bucket: str
    ) -> None:
        """Needs no patch, but must stay so."""
        s3 = emulator.client("s3")
        etag = s3.put_object(Bucket=bucket, Key="ten", Body=b"0123456789")["ETag"]
        which = {"Bucket": bucket, "Key": "ten"}
        response = s3.get_object(**which, Range="bytes=8-20", IfMatch=etag)
        assert (response["Body"].read(), response["ContentRange"]) == (b"89", "bytes 8-9/10")
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 206
        for request in (s3.get_object, s3.head_object):
            with pytest.raises(ClientError) as refused:
                request(**which, IfMatch='"other"')
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
        with pytest.raises(ClientError) as beyond:
            s3.get_object(**which, Range="bytes=10-")
        assert beyond.value.response["Error"]["Code"] == "InvalidRange"
