"""Tags and parameters with the result of an upload, and that they delay no answer."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from isodrop.aws.ledger import Ledger
from isodrop.domain.model import RunRequest, Upload
from isodrop.domain.run import ImageRecord
from isodrop.services.annotations import INTERRUPTED_NOTE, TIME_LIMIT_SECONDS
from isodrop_local.iso_maker import business_editions, server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import ACCOUNT, REGION, ImportHarness, refuse
from tests.support.ledger_actions import put_image

NAME = "windows-11-enterprise-x64-en-us"
LATEST = f"/isodrop/{NAME}/26100/latest"


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


def imported(harness: ImportHarness, key: str, **changes: Any) -> str:
    """Import an ISO; return the id of its AMI."""
    body = harness.iso(business_editions(**changes))
    harness.follow(harness.upload(key, body), f"execution-{key}")
    return str(data(harness)["amis"][0]["id"])


def data(harness: ImportHarness) -> dict[str, Any]:
    (answer,) = harness.answers()
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def parameter(harness: ImportHarness, name: str = LATEST) -> str | None:
    ssm = harness.client("ssm")
    found = ssm.get_parameters(Names=[name])["Parameters"]
    return found[0]["Value"] if found else None


def tags_of(harness: ImportHarness, upload: Upload) -> dict[str, str]:
    got = harness.client("s3").get_object_tagging(
        Bucket=BUCKET, Key=upload.key, VersionId=upload.version_id
    )
    return {tag["Key"]: tag["Value"] for tag in got["TagSet"]}


# On the AMI and on the object


def test_an_ami_has_the_tags_of_its_image(harness: ImportHarness) -> None:
    ami = imported(harness, "a.iso")

    (image,) = harness.client("ec2").describe_images(ImageIds=[ami])["Images"]
    (call,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    assert tags.items() >= call["parameters"]["tags"].items()
    assert tags["isodrop:stack"] == "isodrop"


def test_an_imported_object_keeps_its_tags_and_gets_the_results(
    harness: ImportHarness,
) -> None:
    upload = harness.upload("a.iso")
    harness.client("s3").put_object_tagging(
        Bucket=BUCKET, Key="a.iso", Tagging={"TagSet": [{"Key": "team", "Value": "os"}]}
    )

    harness.follow(upload)

    answer = data(harness)
    assert answer["notes"] == []
    assert tags_of(harness, upload) == {
        "team": "os",
        "isodrop:state": "succeeded",
        "isodrop:ami": answer["amis"][0]["id"],
        "isodrop:image": answer["buildArn"],
    }


def test_a_rejected_object_is_tagged_with_the_code(harness: ImportHarness) -> None:
    upload = harness.upload("server.iso", harness.iso(server_editions()))

    harness.follow(upload)

    assert tags_of(harness, upload) == {
        "isodrop:state": "rejected",
        "isodrop:code": "server-iso",
    }


def test_an_object_is_tagged_with_its_last_answer_only(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next_build(message="no luck")
    upload = harness.upload("a.iso")
    harness.follow(upload)
    assert tags_of(harness, upload)["isodrop:code"] == "build-failed"

    harness.follow(upload, "execution-2", RunRequest(1, {}))

    tags = tags_of(harness, upload)
    assert (tags["isodrop:state"], "isodrop:code" in tags) == ("succeeded", False)


def test_only_the_imported_version_of_a_replaced_object_is_tagged(
    harness: ImportHarness,
) -> None:
    first = harness.upload("a.iso")
    second = harness.upload("a.iso", harness.iso(business_editions(revision=2222)))

    harness.follow(first)

    assert tags_of(harness, first)["isodrop:state"] == "succeeded"
    assert tags_of(harness, second) == {}


def test_a_replaced_object_in_an_unversioned_bucket_is_not_tagged(
    harness: ImportHarness,
) -> None:
    s3 = harness.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    body = harness.iso()
    kept, gone = (harness.upload(key, body) for key in ("kept.iso", "gone.iso"))
    s3.put_object(Bucket=BUCKET, Key="gone.iso", Body=b"another")

    harness.follow(kept)
    harness.follow(gone, "execution-2")

    tagged = [
        s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] for key in (kept.key, gone.key)
    ]
    assert [len(tags) for tags in tagged] == [3, 0]


def test_a_permanently_deleted_object_is_skipped(
    harness: ImportHarness,
) -> None:
    upload = harness.upload("a.iso", b"no iso")
    harness.client("s3").delete_object(Bucket=BUCKET, Key="a.iso", VersionId=upload.version_id)

    harness.follow(upload)

    answer = data(harness)
    assert (answer["code"], answer["notes"]) == ("object-gone", [])


def test_eight_other_tags_stay_and_a_note_lists_what_did_not_fit(
    harness: ImportHarness,
) -> None:
    upload = harness.upload("a.iso")
    theirs = {f"k{n}": "v" for n in range(8)}
    tag_set = [{"Key": key, "Value": value} for key, value in theirs.items()]
    harness.client("s3").put_object_tagging(Bucket=BUCKET, Key="a.iso", Tagging={"TagSet": tag_set})

    harness.follow(upload)

    answer = data(harness)
    ami = answer["amis"][0]["id"]
    assert tags_of(harness, upload) == theirs | {"isodrop:state": "succeeded", "isodrop:ami": ami}
    assert answer["notes"] == [
        "The object was not fully tagged: it has 8 other tags, and S3 allows 10"
    ]


# The latest


def test_the_latest_ami_of_a_build_is_the_one_just_imported(harness: ImportHarness) -> None:
    ami = imported(harness, "a.iso")

    ssm = harness.client("ssm")
    (found,) = ssm.describe_parameters()["Parameters"]
    assert (found["Name"], found["DataType"], parameter(harness)) == (LATEST, "aws:ec2:image", ami)


def test_the_higher_version_of_two_imports_is_the_latest(
    harness: ImportHarness,
) -> None:
    # Given an older one that is still being built
    older = harness.upload("older.iso", harness.iso(business_editions(revision=999)))
    result = harness.intake.process(older, "execution-older")
    # When a newer one ends first
    newer = imported(harness, "newer.iso", revision=1742)
    assert result.build_arn is not None
    harness.wait_for(result.build_arn, older, "execution-older")
    harness.reporter.publish_answer(harness.claim_run(older, "execution-older"))
    # Then
    assert data(harness)["plan"]["semanticVersion"] == "11.26100.999"
    assert parameter(harness) == newer


def test_a_failed_build_leaves_the_latest_ami_unchanged(harness: ImportHarness) -> None:
    good = imported(harness, "good.iso")
    harness.image_builder.controls.fail_next_build(message="no luck")

    harness.follow(
        harness.upload("bad.iso", harness.iso(business_editions(revision=9999))), "execution-bad"
    )

    assert data(harness)["code"] == "build-failed"
    assert parameter(harness) == good


def test_each_windows_build_has_its_own_latest_ami(harness: ImportHarness) -> None:
    one = imported(harness, "24H2.iso")
    other = imported(harness, "25H2.iso", build=26200)

    assert (parameter(harness), parameter(harness, LATEST.replace("26100", "26200"))) == (
        one,
        other,
    )
    assert parameter(harness, f"/isodrop/{NAME}/latest") is None


def test_one_parameter_can_name_the_newest_of_all_builds(
    harness: ImportHarness,
) -> None:
    harness.across_windows_builds = True
    newer = imported(harness, "24H2.iso")
    imported(harness, "23H2.iso", build=22631)

    assert parameter(harness, f"/isodrop/{NAME}/latest") == newer


def test_when_the_newest_is_gone_the_next_import_names_the_newest_left(
    harness: ImportHarness,
) -> None:
    # Given
    newest = imported(harness, "newest.iso", revision=3000)
    harness.client("ec2").deregister_image(ImageId=newest)
    middle = imported(harness, "middle.iso", revision=2000)
    # When
    imported(harness, "old.iso", revision=1000)
    # Then
    assert parameter(harness) == middle


def test_a_concurrent_writer_is_corrected_by_the_second_check(
    harness: ImportHarness,
) -> None:
    # Given a newer image that is recorded while the older one's parameter is written
    newer = imported(harness, "newer.iso", revision=3000)
    known = harness.ledger.table.scan(FilterExpression=Attr("pk").begins_with("IMAGE#"))["Items"]
    (item,) = known
    harness.ledger.table.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})

    def record_newer(**_: Any) -> None:
        harness.ledger.table.put_item(Item=item)

    harness.client("ssm").meta.events.register_first("before-call.ssm.PutParameter", record_newer)
    # When
    imported(harness, "older.iso", revision=1000)
    # Then
    assert parameter(harness) == newer


def delete(harness: ImportHarness, *amis: str) -> None:
    for ami in amis:
        harness.client("ec2").deregister_image(ImageId=ami)


def slow_images(harness: ImportHarness, seconds: float) -> None:
    """Make Image Builder take some time for each image."""

    def pass_time(**_: Any) -> None:
        harness.clock.now += seconds

    harness.builder.imagebuilder.meta.events.register(
        "before-call.imagebuilder.GetImage", pass_time
    )


def record_deleted_images(harness: ImportHarness, count: int) -> None:
    """Record some higher versions, whose images are all deleted."""
    when = harness.clock.time().isoformat()
    here = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image"
    for number in range(count):
        arn = f"{here}/{NAME}/11.26100.{5000 + number}/1"
        put_image(harness.ledger, ImageRecord.from_arn(arn, 26100), when)
    harness.advance_clock(hours=1)


def test_the_latest_still_moves_past_many_higher_deleted_versions(
    harness: ImportHarness,
) -> None:
    record_deleted_images(harness, 90)
    slow_images(harness, 0.5)

    amis = [imported(harness, f"{number}.iso", revision=1742 + number) for number in range(4)]

    # At 20 s each there is time for fewer than 40, and those are retired.
    assert parameter(harness) == amis[-1]
    left = list(harness.ledger.list_images(NAME))
    assert len(left) <= len(amis)


def test_the_object_is_tagged_despite_many_higher_deleted_versions(
    harness: ImportHarness,
) -> None:
    record_deleted_images(harness, 90)
    slow_images(harness, 0.5)
    upload = harness.upload()

    harness.follow(upload)

    assert tags_of(harness, upload)["isodrop:state"] == "succeeded"
    assert "latest parameter may be out of date" in data(harness)["notes"][0]


def test_an_ami_that_ec2_does_not_know_yet_does_not_retire_its_image(
    harness: ImportHarness,
) -> None:
    newer = imported(harness, "newer.iso", revision=3000)
    seen: list[str] = []

    def unknown(**_: Any) -> None:
        if not seen:
            seen.append("once")
            error = {"Error": {"Code": "InvalidAMIID.NotFound", "Message": "not yet"}}
            raise ClientError(error, "DescribeImages")  # type: ignore[arg-type] # the stubs want their own dictionaries

    harness.advance_clock(minutes=-30)  # its image has just been recorded
    ec2 = harness.builder.ec2.meta.events
    ec2.register_first("before-call.ec2.DescribeImages", unknown)
    harness.reporter.annotator.latest.update(NAME, 26100, lambda: None)
    ec2.unregister("before-call.ec2.DescribeImages", unknown)

    harness.reporter.annotator.latest.update(NAME, 26100, lambda: None)

    assert seen
    assert parameter(harness) == newer


def test_a_retired_image_that_is_rebuilt_is_recorded_again(
    harness: ImportHarness,
) -> None:
    arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/{NAME}/11.26100.1/1"
    put_image(harness.ledger, ImageRecord.from_arn(arn, 26100), "2026-11-25T10:00:00.000+00:00")
    (known,) = harness.ledger.list_images(NAME)
    put_image(harness.ledger, known, "2026-11-25T11:00:00.000+00:00")

    harness.ledger.retire(known)  # by a run that read it before
    assert [image.recorded_at for image in harness.ledger.list_images(NAME)] == [
        "2026-11-25T11:00:00.000+00:00"
    ]
    harness.ledger.retire(next(harness.ledger.list_images(NAME)))
    assert list(harness.ledger.list_images(NAME)) == []
    put_image(harness.ledger, known, "2026-11-25T12:00:00.000+00:00")
    assert len(list(harness.ledger.list_images(NAME))) == 1


def test_after_the_latest_ami_is_deleted_the_sweep_names_the_next(
    harness: ImportHarness,
) -> None:
    older = imported(harness, "older.iso", revision=1000)
    newer = imported(harness, "newer.iso", revision=3000)
    assert parameter(harness) == newer
    delete(harness, newer)
    harness.advance_clock(hours=1)

    summary = harness.sweep()

    assert (parameter(harness), summary.errors) == (older, 0)


def test_without_any_image_the_sweep_keeps_the_parameter(
    harness: ImportHarness,
) -> None:
    only = imported(harness, "only.iso")
    delete(harness, only)
    harness.advance_clock(hours=1)

    harness.sweep()

    assert (parameter(harness), list(harness.ledger.list_images(NAME))) == (only, [])


def test_a_sweep_out_of_time_lets_the_next_one_finish_the_names(harness: ImportHarness) -> None:
    old, new = {}, {}
    for build in (26100, 26200):
        old[build] = imported(harness, f"{build}-old.iso", build=build, revision=1)
        new[build] = imported(harness, f"{build}-new.iso", build=build, revision=2)
    delete(harness, *new.values())
    harness.advance_clock(hours=1)

    def latest_of(build: int) -> str | None:
        return parameter(harness, LATEST.replace("26100", str(build)))

    # Time until the first name's parameter is written and checked again.
    times = iter([True])
    first = harness.sweep(has_time=lambda: latest_of(26100) == new[26100] or next(times, False))
    assert (latest_of(26100), first.complete) == (old[26100], False)

    second = harness.sweep()

    assert (latest_of(26200), second.complete) == (old[26200], True)


# They delay no answer


@pytest.mark.parametrize(
    ("service", "operation", "note"),
    [
        ("ec2", "CreateTags", "was not tagged: CreateTags: AccessDenied: not allowed"),
        (
            "s3",
            "PutObjectTagging",
            "The object was not fully tagged: PutObjectTagging: AccessDenied",
        ),
        ("ssm", "PutParameter", "may be out of date: PutParameter: AccessDenied"),
    ],
)
def test_a_missing_permission_is_a_note_in_the_answer(
    harness: ImportHarness, service: str, operation: str, note: str
) -> None:
    refuse(harness.builder.ec2 if service == "ec2" else harness.client(service), operation)

    harness.follow(harness.upload())

    answer = data(harness)
    assert answer["amis"]
    (text,) = answer["notes"]
    assert note in text


def test_when_aws_is_slow_no_further_annotation_starts(
    harness: ImportHarness,
) -> None:
    def slow(**_: Any) -> None:
        harness.clock.now += TIME_LIMIT_SECONDS

    harness.builder.ec2.meta.events.register("before-call.ec2.CreateTags", slow)

    upload = harness.upload()
    harness.follow(upload)

    answer = data(harness)
    assert [note.rpartition(": ")[2] for note in answer["notes"]] == [
        "AWS was too slow; 20 s had passed"
    ]
    # The most useful annotations are written first.
    assert tags_of(harness, upload)["isodrop:state"] == "succeeded"
    assert parameter(harness) is None


class KilledError(BaseException):
    """The process is killed; no handler of exceptions catches this."""


def test_a_function_killed_while_annotating_answers_once(
    harness: ImportHarness,
) -> None:
    # Given
    def kill(**_: Any) -> None:
        raise KilledError

    harness.builder.ec2.meta.events.register("before-call.ec2.CreateTags", kill)
    upload = harness.upload()
    with pytest.raises(KilledError):
        harness.follow(upload)
    certain = harness.claim_run(upload).answer_json
    assert (certain is not None, harness.answers()) == (True, [])
    # When the state machine's Retry invokes it again, and once more
    harness.reporter.publish_answer(harness.claim_run(upload))
    harness.reporter.publish_answer(harness.claim_run(upload))
    # Then
    answer = data(harness)
    assert answer["notes"] == [INTERRUPTED_NOTE]
    assert harness.claim_run(upload).answer_json == certain
    assert harness.submissions() == 1
    assert parameter(harness) is None
    # When the sweep corrects the parameters
    harness.sweep()
    # Then
    assert parameter(harness) == answer["amis"][0]["id"]


def test_two_concurrent_answers_publish_the_same_notes(
    harness: ImportHarness,
) -> None:
    # Given one that has started, and another that it does not know of
    upload = harness.upload()
    harness.intake.process(upload, "execution-1")
    build = harness.claim_run(upload).import_build.arn
    assert build is not None
    harness.wait_for(build, upload, "execution-1")
    harness.published()

    def other(**_: Any) -> None:
        harness.reporter.publish_answer(harness.claim_run(upload))

    harness.builder.ec2.meta.events.register("before-call.ec2.CreateTags", other)
    # When
    harness.reporter.publish_answer(harness.claim_run(upload))
    # Then
    first, second = harness.answers()
    assert first["detail"] == second["detail"]
    assert first["detail"]["data"]["notes"] == [INTERRUPTED_NOTE]
