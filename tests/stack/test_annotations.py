"""Tags and parameters with the result of an upload, on the deployed template."""

from isodrop_local.iso_maker import business_editions
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso

NAME = "windows-11-enterprise-x64-en-us"


def test_an_import_annotates_ami_object_and_parameter_once(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    # Given S3's events of objects
    published = stack.subscribe("s3", {"source": ["aws.s3"]})
    # When
    key = stack.upload(iso(business_editions(build=26200, revision=8888)))
    answer = stack.wait_for_answer(key)["detail"]["data"]
    stack.settle()
    # Then
    s3, ec2, ssm = (stack.client(service) for service in ("s3", "ec2", "ssm"))
    ami = answer["amis"][0]["id"]
    source = answer["source"]
    tagged = s3.get_object_tagging(Bucket=source["bucket"], Key=key, VersionId=source["versionId"])[
        "TagSet"
    ]
    (image,) = ec2.describe_images(ImageIds=[ami])["Images"]
    latest = ssm.get_parameter(Name=f"/isodrop/{NAME}/26200/latest")["Parameter"]
    assert answer["notes"] == []
    assert {tag["Key"]: tag["Value"] for tag in tagged} == {
        "isodrop:state": "succeeded",
        "isodrop:ami": ami,
        "isodrop:image": answer["buildArn"],
    }
    assert {"Key": "isodrop:stack", "Value": stack.name} in image["Tags"]
    assert (latest["Value"], latest["DataType"]) == (ami, "aws:ec2:image")
    created = [
        event
        for event in published.events()
        if event["detail-type"] == "Object Created" and event["detail"]["object"]["key"] == key
    ]
    assert len(created) == 1
