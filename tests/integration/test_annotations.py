"""What came of an upload, where people look; and that no answer ever hangs on it."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr

from isodrop.aws.ledger import Ledger
from isodrop.domain.model import Ask, Upload
from isodrop.services.annotations import BROKEN_OFF, BUDGET
from isodrop_local.iso_maker import business_editions, server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import Way, refuse

NAME = "windows-11-enterprise-x64-en-us"
LATEST = f"/isodrop/{NAME}/26100/latest"


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    return Way(session, ledger, tmp_path)


def imported(way: Way, key: str, **changes: Any) -> str:
    """Import an ISO and get its AMI's id."""
    body = way.iso(business_editions(**changes))
    way.follow(way.upload(key, body), f"execution-{key}")
    return str(data(way)["amis"][0]["id"])


def data(way: Way) -> dict[str, Any]:
    (answer,) = way.answers()
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def parameter(way: Way, name: str = LATEST) -> str | None:
    ssm = way.client("ssm")
    found = ssm.get_parameters(Names=[name])["Parameters"]
    return found[0]["Value"] if found else None


def tags_of(way: Way, upload: Upload) -> dict[str, str]:
    got = way.client("s3").get_object_tagging(
        Bucket=BUCKET, Key=upload.key, VersionId=upload.version_id
    )
    return {tag["Key"]: tag["Value"] for tag in got["TagSet"]}


# On the AMI and on the object


def test_given_an_import_then_its_ami_has_the_tags_of_its_image(way: Way) -> None:
    ami = imported(way, "a.iso")

    (image,) = way.client("ec2").describe_images(ImageIds=[ami])["Images"]
    (call,) = way.image_builder.controls.calls_of("ImportDiskImage")
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    assert tags.items() >= call["parameters"]["tags"].items()
    assert tags["isodrop:stack"] == "isodrop"


def test_given_an_import_then_its_object_tells_the_story_beside_what_it_told_before(
    way: Way,
) -> None:
    upload = way.upload("a.iso")
    way.client("s3").put_object_tagging(
        Bucket=BUCKET, Key="a.iso", Tagging={"TagSet": [{"Key": "team", "Value": "os"}]}
    )

    way.follow(upload)

    answer = data(way)
    assert answer["notes"] == []
    assert tags_of(way, upload) == {
        "team": "os",
        "isodrop:state": "succeeded",
        "isodrop:ami": answer["amis"][0]["id"],
        "isodrop:image": answer["buildArn"],
    }


def test_given_a_rejection_then_its_object_tells_the_code(way: Way) -> None:
    upload = way.upload("server.iso", way.iso(server_editions()))

    way.follow(upload)

    assert tags_of(way, upload) == {
        "isodrop:state": "rejected",
        "isodrop:code": "server-media",
    }


def test_given_another_ask_then_the_object_tells_the_last_answer_only(way: Way) -> None:
    way.image_builder.controls.fail_next_build(message="no luck")
    upload = way.upload("a.iso")
    way.follow(upload)
    assert tags_of(way, upload)["isodrop:code"] == "build-failed"

    way.follow(upload, "execution-2", Ask(1, {}))

    tags = tags_of(way, upload)
    assert (tags["isodrop:state"], "isodrop:code" in tags) == ("succeeded", False)


def test_given_a_replaced_object_then_only_the_version_that_was_meant_is_tagged(way: Way) -> None:
    first = way.upload("a.iso")
    second = way.upload("a.iso", way.iso(business_editions(revision=2222)))

    way.follow(first)

    assert tags_of(way, first)["isodrop:state"] == "succeeded"
    assert tags_of(way, second) == {}


def test_given_a_bucket_without_versions_then_an_object_that_was_replaced_is_left_alone(
    way: Way,
) -> None:
    s3 = way.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    body = way.iso()
    kept, gone = (way.upload(key, body) for key in ("kept.iso", "gone.iso"))
    s3.put_object(Bucket=BUCKET, Key="gone.iso", Body=b"another")

    way.follow(kept)
    way.follow(gone, "execution-2")

    tagged = [
        s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] for key in (kept.key, gone.key)
    ]
    assert [len(tags) for tags in tagged] == [3, 0]


def test_given_an_object_that_was_deleted_for_good_then_nothing_is_missed(way: Way) -> None:
    upload = way.upload("a.iso", b"no iso")
    way.client("s3").delete_object(Bucket=BUCKET, Key="a.iso", VersionId=upload.version_id)

    way.follow(upload)

    answer = data(way)
    assert (answer["code"], answer["notes"]) == ("object-gone", [])


def test_given_eight_tags_of_others_then_they_stay_and_a_note_says_what_did_not_fit(
    way: Way,
) -> None:
    upload = way.upload("a.iso")
    theirs = {f"k{n}": "v" for n in range(8)}
    tag_set = [{"Key": key, "Value": value} for key, value in theirs.items()]
    way.client("s3").put_object_tagging(Bucket=BUCKET, Key="a.iso", Tagging={"TagSet": tag_set})

    way.follow(upload)

    answer = data(way)
    ami = answer["amis"][0]["id"]
    assert tags_of(way, upload) == theirs | {"isodrop:state": "succeeded", "isodrop:ami": ami}
    assert answer["notes"] == [
        "The object was not fully tagged: it has 8 other tags, and S3 allows 10"
    ]


# The latest


def test_given_an_import_then_the_latest_of_its_build_is_its_ami(way: Way) -> None:
    ami = imported(way, "a.iso")

    ssm = way.client("ssm")
    (told,) = ssm.describe_parameters()["Parameters"]
    assert (told["Name"], told["DataType"], parameter(way)) == (LATEST, "aws:ec2:image", ami)


def test_given_two_imports_that_end_in_the_wrong_order_then_the_latest_is_the_higher_version(
    way: Way,
) -> None:
    # Given an older one that is still being built
    older = way.upload("older.iso", way.iso(business_editions(revision=999)))
    begun = way.intake.take(older, "execution-older")
    # When a newer one ends first
    newer = imported(way, "newer.iso", revision=1742)
    assert begun.build_arn is not None
    way.wait_for(begun.build_arn, older, "execution-older")
    way.reporter.answer(way.drop(older, "execution-older"))
    # Then
    assert data(way)["plan"]["semanticVersion"] == "11.26100.999"
    assert parameter(way) == newer


def test_given_a_failed_build_then_the_latest_is_what_it_was(way: Way) -> None:
    good = imported(way, "good.iso")
    way.image_builder.controls.fail_next_build(message="no luck")

    way.follow(way.upload("bad.iso", way.iso(business_editions(revision=9999))), "execution-bad")

    assert data(way)["code"] == "build-failed"
    assert parameter(way) == good


def test_given_another_build_of_windows_then_each_has_its_latest(way: Way) -> None:
    one = imported(way, "24H2.iso")
    other = imported(way, "25H2.iso", build=26200)

    assert (parameter(way), parameter(way, LATEST.replace("26100", "26200"))) == (one, other)
    assert parameter(way, f"/isodrop/{NAME}/latest") is None


def test_given_the_wish_then_one_parameter_names_the_newest_of_all_builds(way: Way) -> None:
    way.across_builds = True
    newer = imported(way, "24H2.iso")
    imported(way, "23H2.iso", build=22631)

    assert parameter(way, f"/isodrop/{NAME}/latest") == newer


def test_given_the_newest_is_gone_then_the_next_import_names_the_newest_there_is(way: Way) -> None:
    # Given
    newest = imported(way, "newest.iso", revision=3000)
    way.client("ec2").deregister_image(ImageId=newest)
    middle = imported(way, "middle.iso", revision=2000)
    # When
    imported(way, "old.iso", revision=1000)
    # Then
    assert parameter(way) == middle


def test_given_another_writer_in_between_then_the_second_look_puts_it_right(way: Way) -> None:
    # Given a newer image that comes to be known while the older one's parameter is written
    newer = imported(way, "newer.iso", revision=3000)
    known = way.ledger.table.scan(FilterExpression=Attr("pk").begins_with("IMAGE#"))["Items"]
    (item,) = known
    way.ledger.table.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})

    def meanwhile(**_: Any) -> None:
        way.ledger.table.put_item(Item=item)

    way.client("ssm").meta.events.register_first("before-call.ssm.PutParameter", meanwhile)
    # When
    imported(way, "older.iso", revision=1000)
    # Then
    assert parameter(way) == newer


# No answer hangs on it


@pytest.mark.parametrize(
    ("service", "operation", "note"),
    [
        ("ec2", "CreateTags", "was not tagged: CreateTags: AccessDenied: not allowed"),
        (
            "s3",
            "PutObjectTagging",
            "The object was not fully tagged: PutObjectTagging: AccessDenied",
        ),
        ("ssm", "PutParameter", "is not certain to be up to date: PutParameter: AccessDenied"),
    ],
)
def test_given_a_right_that_is_missing_then_the_answer_comes_and_says_so(
    way: Way, service: str, operation: str, note: str
) -> None:
    refuse(way.builder.ec2 if service == "ec2" else way.client(service), operation)

    way.follow(way.upload())

    answer = data(way)
    assert answer["amis"]
    (said,) = answer["notes"]
    assert note in said


def test_given_aws_is_slow_then_nothing_more_is_begun_and_the_answer_comes(way: Way) -> None:
    def slow(**_: Any) -> None:
        way.clock.now += BUDGET

    way.builder.ec2.meta.events.register("before-call.ec2.CreateTags", slow)

    upload = way.upload()
    way.follow(upload)

    answer = data(way)
    assert [note.rpartition(": ")[2] for note in answer["notes"]] == [
        "AWS was too slow; 20 s had passed"
    ] * 2
    assert tags_of(way, upload) == {}


class KilledError(BaseException):
    """What ends a process, and no handler of exceptions stops."""


def test_given_the_function_is_killed_there_then_the_answer_is_the_same_one_and_comes_once(
    way: Way,
) -> None:
    # Given
    def kill(**_: Any) -> None:
        raise KilledError

    way.builder.ec2.meta.events.register("before-call.ec2.CreateTags", kill)
    upload = way.upload()
    with pytest.raises(KilledError):
        way.follow(upload)
    certain = way.drop(upload).answer
    assert (certain is not None, way.answers()) == (True, [])
    # When it is asked again, by the state machine's Retry, and once more
    way.reporter.answer(way.drop(upload))
    way.reporter.answer(way.drop(upload))
    # Then
    assert data(way)["notes"] == [BROKEN_OFF]
    assert way.drop(upload).answer == certain
    assert way.submissions() == 1
    assert tags_of(way, upload) == {}


def test_given_two_that_answer_at_once_then_both_publish_the_same_notes(way: Way) -> None:
    # Given one that has begun, and does not know that another has come
    upload = way.upload()
    way.intake.take(upload, "execution-1")
    build = way.drop(upload).build_arn
    assert build is not None
    way.wait_for(build, upload, "execution-1")
    way.heard()

    def other(**_: Any) -> None:
        way.reporter.answer(way.drop(upload))

    way.builder.ec2.meta.events.register("before-call.ec2.CreateTags", other)
    # When
    way.reporter.answer(way.drop(upload))
    # Then
    first, second = way.answers()
    assert first["detail"] == second["detail"]
    assert first["detail"]["data"]["notes"] == [BROKEN_OFF]
