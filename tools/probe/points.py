"""The points that the probe verifies: for each a request, the expected and the observed result.

Each function verifies one thing with a session, and returns what it observed and whether that was
expected. A function that writes something removes it again, whatever happens meanwhile.
"""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from isodrop.domain.arn import Arn
from tools.smoke.points import DIFFERS, MATCHES, NOT_OBSERVED, Point

MIB: Final = 1 << 20
PART: Final = 5 * MIB
"""The minimum size that S3 accepts for a part other than the last."""
QUERY_SECONDS: Final = 30.0
_ENDED: Final = frozenset({"Complete", "Failed", "Cancelled", "Timeout", "Unknown"})


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack that is probed.

    Attributes
    ----------
    name : str
    bucket : str
        Where uploads go.
    machine_arn : str
        Its state machine.
    resources : mapping of str to str
        Physical ids by logical ids.
    """

    name: str
    bucket: str
    machine_arn: str
    resources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to verify.

    Attributes
    ----------
    name : str
    expected : str
    request : callable
        Returns what was observed, and whether that was expected.
    writes : str
        What it writes and removes; empty if it only reads.
    """

    name: str
    expected: str
    request: Callable[[Any, Stack], tuple[str, bool]]
    writes: str = ""

    def point(self, session: Any, stack: Stack) -> Point:
        """Verify it; an error counts as not observed."""
        try:
            observed, matches = self.request(session, stack)
        except (ClientError, BotoCoreError) as error:
            return Point(self.name, self.expected, str(error)[:300], NOT_OBSERVED)
        return Point(self.name, self.expected, observed, MATCHES if matches else DIFFERS)

    def declined(self) -> Point:
        """Return the point if consent was refused."""
        return Point(self.name, self.expected, "you did not agree", NOT_OBSERVED)


def definition(session: Any, stack: Stack) -> tuple[str, bool]:
    """Have Step Functions validate the definition that is deployed."""
    client = session.client("stepfunctions")
    deployed = client.describe_state_machine(stateMachineArn=stack.machine_arn)["definition"]
    found = client.validate_state_machine_definition(definition=deployed, severity="WARNING")
    findings = [f"{each['severity']} {each['code']}" for each in found["diagnostics"]]
    return ", ".join([found["result"], *findings]), found["result"] == "OK" and not findings


def unknown_build(session: Any, stack: Stack) -> tuple[str, bool]:
    """Test, with the ARN of a build that cannot exist, the state that gets a build."""
    client = session.client("stepfunctions")
    found = client.describe_state_machine(stateMachineArn=stack.machine_arn)
    state = next(each for each in states_of(json.loads(found["definition"])) if _gets_builds(each))
    image = Arn.parse(stack.machine_arn).sibling("imagebuilder", "image/isodrop-probe/1.0.0/1")
    given = {"ImageBuildVersionArn": str(image)}
    if "amazonaws" not in client.meta.endpoint_url:  # the local stack has only one host
        no_prefix = Config(inject_host_prefix=False)
        client = session.client("stepfunctions", config=no_prefix)
    response = client.test_state(
        definition=json.dumps({"QueryLanguage": "JSONata", **state, "Arguments": given}),
        roleArn=found["roleArn"],
        input=json.dumps(given),
    )
    caught = {name for each in state.get("Catch", ()) for name in each["ErrorEquals"]}
    error = response.get("error", "none")
    return f"{response['status']}: {error}: {response.get('cause', '')}"[:300], error in caught


def states_of(level: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """List all states of a definition, those in branches, too."""
    for state in level["States"].values():
        yield state
        for branch in state.get("Branches", ()):
            yield from states_of(branch)


def _gets_builds(state: Mapping[str, Any]) -> bool:
    return str(state.get("Resource", "")).endswith(":imagebuilder:getImage")


def rule_pattern(session: Any, stack: Stack) -> tuple[str, bool]:
    """Put the rule's pattern into a disabled rule, and delete that."""
    client = session.client("events")
    pattern = client.describe_rule(Name=stack.resources["UploadRule"])["EventPattern"]
    name = f"isodrop-probe-{uuid.uuid4().hex[:12]}"
    try:
        client.put_rule(Name=name, EventPattern=pattern, State="DISABLED")
        observed, matches = "accepted", True
    except client.exceptions.InvalidEventPatternException as error:
        return str(error)[:300], False
    finally:
        client.delete_rule(Name=name)  # deleting a missing rule is no error
    return observed, matches


def part_checksums(session: Any, stack: Stack) -> tuple[str, bool]:
    """Copy an object in two parts, and compare the checksums that S3 computes with our own."""
    s3 = session.client("s3")
    data = b"\1" * (6 * MIB)
    source, target = (f"isodrop-probe-{uuid.uuid4().hex[:12]}.bin" for _ in range(2))
    where = {"Bucket": stack.bucket, "Key": target}
    upload = None
    try:
        put = s3.put_object(Bucket=stack.bucket, Key=source, Body=data)
        upload = s3.create_multipart_upload(
            **where, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE"
        )["UploadId"]
        source_version = {"Bucket": stack.bucket, "Key": source}
        if "VersionId" in put:
            source_version["VersionId"] = put["VersionId"]
        parts = []
        for number, begin in enumerate((0, PART), 1):
            end = min(begin + PART, len(data)) - 1
            copied = s3.upload_part_copy(
                **where,
                UploadId=upload,
                PartNumber=number,
                CopySource=source_version,
                CopySourceRange=f"bytes={begin}-{end}",
                CopySourceIfMatch=put["ETag"],
            )["CopyPartResult"]
            sums = {"ChecksumSHA256": copied.get("ChecksumSHA256", "")}
            parts.append({"ETag": copied["ETag"], "PartNumber": number, **sums})
        if read_checksums(parts) != [_checksum(data[:PART]), _checksum(data[PART:])]:
            return f"the parts' checksums are {read_checksums(parts)}", False
        s3.complete_multipart_upload(
            **where,
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            ChecksumType="COMPOSITE",
            IfNoneMatch="*",
        )
        upload = None
        head = s3.head_object(**where, ChecksumMode="ENABLED")
        whole = hashlib.sha256(b"".join(map(base64.b64decode, read_checksums(parts)))).digest()
        expected = f"{base64.b64encode(whole).decode()}-2"
        return f"composite {head.get('ChecksumSHA256')}", head.get("ChecksumSHA256") == expected
    finally:
        if upload is not None:
            s3.abort_multipart_upload(**where, UploadId=upload)
        for key in (source, target):
            _remove(s3, stack.bucket, key)


def read_checksums(response: list[dict[str, Any]]) -> list[str]:
    """Get the checksums of parts."""
    return [str(each["ChecksumSHA256"]) for each in response]


def _checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _remove(s3: Any, bucket: str, key: str) -> None:
    """Remove an object with all its versions."""
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    for each in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


def saved_query(session: Any, stack: Stack) -> tuple[str, bool]:
    """Run one of the stack's saved queries over the last hour."""
    logs = session.client("logs")
    saved = logs.describe_query_definitions(queryDefinitionNamePrefix=f"{stack.name}/")
    query = next(
        (each for each in saved["queryDefinitions"] if each["name"].endswith("type and code")), None
    )
    if query is None:
        return (
            f"{len(saved['queryDefinitions'])} saved queries, none of them the expected one",
            False,
        )
    now = int(time.time())
    query_id = logs.start_query(
        logGroupNames=query["logGroupNames"],
        queryString=query["queryString"],
        startTime=now - 3600,
        endTime=now,
    )["queryId"]
    deadline = time.monotonic() + QUERY_SECONDS
    while True:
        found = logs.get_query_results(queryId=query_id)
        if found["status"] in _ENDED or time.monotonic() > deadline:
            return f"{found['status']}, {len(found['results'])} rows", found["status"] == "Complete"
        time.sleep(0.5)


PROBES: Final = (
    Probe("definition", "Step Functions validates it without findings", definition),
    Probe("unknown build", "an error that the state machine catches by its name", unknown_build),
    Probe(
        "rule's pattern",
        "EventBridge accepts it",
        rule_pattern,
        "puts a disabled rule isodrop-probe-… and deletes it",
    ),
    Probe(
        "part checksums",
        "S3 returns the SHA-256 of each part that it copies, and their composite",
        part_checksums,
        "puts an object of 6 MiB, isodrop-probe-….bin, into {bucket}, copies it, and deletes both",
    ),
    Probe("saved query", "CloudWatch accepts it and completes it", saved_query),
)
