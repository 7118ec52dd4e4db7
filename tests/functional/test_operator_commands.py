"""isodrop list, status, retry and cancel, as a person types them: what they print and exit with."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from isodrop import asks
from isodrop.cli import main
from isodrop.ledger import Ledger
from isodrop.plan import Ask
from tests.functional.conftest import BUCKET
from tests.functional.way import Way
from tests.media import server_editions

Run = Callable[..., tuple[int, str, str]]
ADDRESS = f"s3://{BUCKET}/a.iso"


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """The stacks that there are, by their outputs; moto's own need too many packages."""
    found: dict[str, dict[str, str]] = {}
    ask = BaseClient._make_api_call  # type: ignore[attr-defined] # what every call goes through

    def answer(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation != "DescribeStacks":
            return ask(self, operation, arguments)
        outputs = found.get(arguments["StackName"])
        if outputs is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, operation)
        told = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": told}]}

    monkeypatch.setattr(BaseClient, "_make_api_call", answer)
    return found


@pytest.fixture
def way(
    session: boto3.Session, ledger: Ledger, tmp_path: Path, stacks: dict[str, dict[str, str]]
) -> Way:
    """A stack that can be found by its name."""
    way = Way(session, ledger, tmp_path)
    stacks["isodrop"] = {
        "UploadBucketName": BUCKET,
        "ImportMachineArn": way.executions.machine_arn,
        "LedgerTable": "ledger",
    }
    return way


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ISODROP_STACK", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as leaving:  # how argparse ends
            status = int(leaving.code or 0)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command before a person's eyes, on the narrowest terminal that is usual."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def told(*arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "dumb")
        with monkeypatch.context() as here:  # not longer: pytest has a stdout of its own
            here.setattr(sys, "stdout", screen := Terminal())
            main(arguments)
        return screen.getvalue()

    return told


def rejected(way: Way, key: str = "a.iso") -> None:
    """An upload that was rejected: moto has no Image Builder to ask about builds."""
    way.follow(way.upload(key, way.iso(server_editions())), f"execution-{key}")


def test_given_drops_when_listed_in_a_pipe_then_each_is_a_line_of_fields(
    way: Way, run: Run
) -> None:
    rejected(way)
    way.later(minutes=1)
    way.drop(way.upload("b\tc.iso"), "execution-b")

    status, out, _ = run("list")

    lines = [line.split("\t") for line in out.splitlines()]
    assert status == 0
    assert [line[1:3] for line in lines] == [["looking", ""], ["rejected", "server-media"]]
    assert [line[-1] for line in lines] == ["b\\tc.iso", "a.iso"]


def test_given_a_terminal_of_80_columns_when_listed_then_nothing_is_cut_off(
    way: Way, told: Callable[..., str]
) -> None:
    long = "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
    way.follow(way.upload(long), "execution-good")
    way.later(minutes=1)
    rejected(way, "bad.iso")

    screen = told("list")

    assert max(map(len, screen.splitlines())) <= 80
    heading, _, bad, *good = (line[1:] for line in screen.splitlines() if line.strip())
    assert heading.split() == ["Claimed", "State", "What", "came", "of", "it", "Name"]
    assert bad.split()[2:] == ["rejected", "server-media", "bad.iso"]
    assert good[0].split()[2] == "succeeded"
    second, third = heading.index("What"), heading.index("Name")
    outcome, name = (
        "".join(line[start:end].rstrip() for line in good)
        for start, end in ((second, third), (third, None))
    )
    assert outcome.replace(" ", "") == "windows-11-enterprise-x64-en-us11.26100.1742"
    assert name == long


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "nothing was dropped yet\n"), (("--open",), "nothing waits for its answer\n")],
)
@pytest.mark.usefixtures("way")
def test_given_nothing_when_a_person_lists_then_it_is_said(
    run: Run, told: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert told("list", *arguments) == said
    assert run("list", *arguments) == (0, "", "")


def test_given_drops_when_listed_as_json_then_they_are_whole(way: Way, run: Run) -> None:
    rejected(way)

    status, out, _ = run("list", "--json", "--limit", "1")

    (drop,) = json.loads(out)
    assert status == 0
    assert drop["state"] == "rejected"
    assert drop["source"]["key"] == "a.iso"
    assert drop["answer"]["detail"]["data"]["code"] == "server-media"


def test_given_open_drops_when_only_they_are_listed_then_no_other_is(way: Way, run: Run) -> None:
    rejected(way)

    assert run("list", "--open") == (0, "", "")


def test_given_an_upload_when_its_status_is_asked_then_every_ask_is_told(
    way: Way, run: Run
) -> None:
    upload = way.upload("a.iso", way.iso(server_editions()))
    way.follow(upload, "execution-1")
    way.follow(upload, "execution-2", Ask(1, {"edition": "EnterpriseN"}))

    status, out, _ = run("status", ADDRESS)

    facts = [line.split("\t", 1) for line in out.splitlines()]
    assert status == 0
    assert [value for name, value in facts if name == "ask"] == ["0", "1"]
    assert ["set", "edition=EnterpriseN"] in facts
    assert [value for name, value in facts if name == "code"] == ["server-media"] * 2


def test_given_an_upload_that_nobody_claimed_when_asked_then_there_is_a_way_out(
    way: Way, run: Run
) -> None:
    way.upload("a.iso")

    status, out, err = run("status", ADDRESS)

    assert (status, out) == (1, "")
    assert "isodrop retry" in err


@pytest.mark.parametrize("command", ["status", "retry", "cancel", "watch"])
@pytest.mark.usefixtures("way")
def test_given_an_object_that_is_gone_when_asked_then_the_command_that_knows_it_is_named(
    run: Run, command: str
) -> None:
    status, out, err = run(command, ADDRESS)
    assert (status, out) == (1, "")
    assert "isodrop status --version-id tells of what was deleted" in err


def test_given_an_answer_when_asked_anew_then_it_is_told_where_to_look(way: Way, run: Run) -> None:
    rejected(way)

    status, out, _ = run("retry", ADDRESS, "--set", "edition=EnterpriseN", "--json")

    ((_, ask, execution),) = way.started()
    assert status == 0
    assert json.loads(out) == {
        "dropId": json.loads(out)["dropId"],
        "ask": 1,
        "execution": execution,
    }
    assert ask.overrides == {"edition": "EnterpriseN"}


def test_given_an_answer_that_is_waited_for_when_it_comes_then_it_is_the_exit_status(
    way: Way, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(way)
    waited: list[float] = []

    def follow(seconds: float) -> None:
        waited.append(seconds)
        ((upload, ask, execution),) = way.started()
        way.follow(upload, execution, ask)

    monkeypatch.setattr("time.sleep", follow)

    status, out, _ = run("retry", ADDRESS, "--wait")

    assert status == 3
    assert "code\tserver-media\n" in out
    assert waited == [asks.WAIT_SECONDS]


def test_given_no_answer_yet_when_asked_anew_then_it_is_refused_and_the_execution_told(
    way: Way, run: Run
) -> None:
    way.drop(way.upload("a.iso"), "arn:of-the-execution")

    status, _, err = run("retry", ADDRESS)

    assert status == 1
    assert "arn:of-the-execution" in err


def test_given_an_import_that_waits_when_cancelled_then_it_is_told(way: Way, run: Run) -> None:
    way.drop(way.upload("a.iso"), "execution-1")

    status, out, _ = run("cancel", ADDRESS)

    assert (status, out.partition(";")[0]) == (0, "cancelled before there was a build")
    assert run("cancel", ADDRESS)[0] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ("retry", "a.iso"),
        ("retry", "s3://bucket"),
        ("retry", ADDRESS, "--set", "edition"),
        ("retry", ADDRESS, "--set", "role=admin"),
        ("retry", ADDRESS, "--set", "image-index=first"),
        ("list", "--limit", "0"),
        ("list", "--limit", "many"),
        ("status",),
    ],
)
def test_given_wrong_usage_when_typed_then_it_is_told_before_anything_is_asked(
    run: Run, wrong: tuple[str, ...]
) -> None:
    status, out, err = run(*wrong)

    assert (status, out) == (2, "")
    assert err.startswith("usage: isodrop")


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("command", ["list", "doctor"])
def test_given_a_stack_of_something_else_when_asked_then_no_mend_of_it_is_proposed(
    run: Run, stacks: dict[str, dict[str, str]], command: str
) -> None:
    stacks["queues"] = {"QueueUrl": "https://sqs"}

    status, out, err = run(command, "--stack", "queues")

    assert (status, out) == (1, "")
    assert "the stack queues is CREATE_COMPLETE and has none of isodrop's outputs" in err
    assert "--stack or ISODROP_STACK" in err


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("arguments", "case"),
    [
        (("--stack", "nobodys"), ({}, "no stack nobodys in eu-central-1; name yours")),
        ((), ({"ISODROP_STACK": "nobodys"}, "there is no stack nobodys")),
        (("--stack", "other"), ({}, "has no output LedgerTable: it is not isodrop's")),
        (("--profile", "nobodys"), ({}, "aws configure list-profiles")),
        ((), ({"AWS_DEFAULT_REGION": None}, "no Region is set; name it with --region")),
        ((), ({"AWS_ACCESS_KEY_ID": None}, "there are no AWS credentials")),
    ],
)
def test_given_no_way_to_the_stack_when_asked_then_the_way_out_is_told(
    run: Run,
    stacks: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    case: tuple[dict[str, str | None], str],
) -> None:
    environment, told = case
    outputs = {"UploadBucketName": "b", "ImportMachineArn": "arn:a:states:r:1:stateMachine:m"}
    stacks |= {"other": outputs, "isodrop": {**outputs, "LedgerTable": "ledger"}}
    # Neither this machine's own configuration nor its metadata service is to be found.
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    if "AWS_ACCESS_KEY_ID" in environment:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    status, out, err = run("list", *arguments)

    assert (status, out) == (1, "")
    assert told in err


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ExpiredToken", "log in again"),
        ("InvalidClientTokenId", "AWS does not take your credentials"),
        ("AccessDenied", "you may not do that: DescribeStacks: AccessDenied"),
        ("Throttling", "try again in a minute"),
    ],
)
def test_given_an_error_of_aws_when_asked_then_it_is_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    def refuse(self: Any, operation: str, arguments: Any) -> Any:
        del self, arguments
        raise ClientError({"Error": {"Code": code, "Message": "No."}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)

    status, out, err = run("list")

    assert (status, out) == (1, "")
    assert told in err
