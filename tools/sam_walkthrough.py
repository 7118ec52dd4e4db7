"""``make test-sam``: the documented SAM commands, one after the other, as a new user runs them.

In a copy of the repository as it would be cloned, with the real SAM CLI, against the emulator:
build, deploy, invoke, read logs, delete; then the package with the AWS CLI, CDK and Terraform. It
exits with 1 at the first step that fails, and removes everything that it created.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from isodrop_local.iso_maker import business_editions, make_iso
from isodrop_local.packaging import ROOT
from isodrop_local.serve import guide
from isodrop_local.stack import ACCOUNT, REGION, EmulatedStack, Subscription

STACK: Final = "isodrop"
EXISTING: Final = "existing-isos"
ARTIFACTS: Final = "my-artifacts"
PACKAGED: Final = "packaged"
SECONDS: Final = 600
"""The time limit of each command."""
ARCHITECTURES: Final = {"x86_64": 62, "aarch64": 183}
"""The architectures by their names in file names, and their numbers in ELF headers."""
LIMIT: Final = 250 * 1024 * 1024
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
PYTHONS: Final = ("python3.11", "python3.12", "python3.13", "python3.14")
HOST: Final = {"LAYER_PLATFORMS": "host", "PYTHON": sys.executable}


class StepError(Exception):
    """A step failed; the message says why."""


class Walk:
    """A copy of the repository, and commands that run in it.

    Parameters
    ----------
    folder : pathlib.Path
        The folder for the copy and its home.

    Attributes
    ----------
    aws : mapping of str to str
        The variables that point commands at the local stack; empty until it runs.
    skipped : list of str
        The checks that were not possible, and why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "isodrop"
        self.home = folder / "home"
        self.aws: Mapping[str, str] = {}
        self.skipped: list[str] = []

    def copy(self) -> None:
        """Copy the files that git tracks or would track; nothing that was built or installed."""
        self.home.mkdir()
        git_command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
        listed = subprocess.run(
            [*git_command, "--exclude-standard"], capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.clone / name)

    def run(
        self,
        *command: str | Path,
        within: Path | None = None,
        input_text: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command in the copy; return what it prints.

        Raises
        ------
        StepError
            The command failed; the message has the end of its output.
        """
        shown = " ".join(map(str, command)).replace(str(self.folder), "…")
        print(f"   $ {shown.replace(sys.executable, 'python')}", flush=True)
        done = subprocess.run(
            [str(each) for each in command],
            cwd=within or self.clone,
            env=self.environ(environ or {}),
            input=input_text or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        if done.returncode:
            raise StepError(f"exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return an environment without settings of the user or make, with our programs first."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MAKE", "SAM_"))}
        own = {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SAM_CLI_TELEMETRY": "0",
            "TMPDIR": str(self.home),  # sam build leaves folders there
        }
        return {**kept, **own, **self.aws, **more}


def main() -> int:
    """Run all steps, and print their results."""
    began = time.monotonic()
    before = _untracked()
    try:
        with tempfile.TemporaryDirectory(prefix="isodrop-sam-") as folder:
            walk = Walk(Path(folder))
            walk.copy()
            _build(walk)
            with EmulatedStack() as stack:
                walk.aws = {
                    "AWS_ENDPOINT_URL": stack.endpoint,
                    "AWS_REGION": REGION,
                    "AWS_DEFAULT_REGION": REGION,
                    "AWS_ACCESS_KEY_ID": ACCOUNT,
                    "AWS_SECRET_ACCESS_KEY": "none",
                }
                _deploy(walk, stack)
                _package(walk, stack)
        _print_step("no files are left")
        _require(_untracked() == before, f"the repository has changed:\n{_untracked()}")
    except (StepError, subprocess.TimeoutExpired) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    for each in walk.skipped:
        print(f"NOT CHECKED: {each}")
    print(f"all steps passed in {time.monotonic() - began:.0f} s")
    return 0


def _print_step(step: str) -> None:
    print(f"== {step}", flush=True)


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise StepError(otherwise)


def _untracked() -> str:
    git_command = ["git", "-C", str(ROOT), "status", "--porcelain", "--ignored"]
    return subprocess.run(git_command, capture_output=True, text=True, check=True).stdout


def _is_installed(program: str) -> bool:
    """Whether a program is installed and runs."""
    try:
        return not subprocess.run(
            [program, "--version"], capture_output=True, check=False, timeout=60
        ).returncode
    except OSError:
        return False


# ------------------------------------------------------------------------- without any account


def _build(walk: Walk) -> None:
    _print_step("validate and build, as for AWS")
    walk.run("sam", "validate", "--lint")
    walk.run("sam", "build")
    built = walk.clone / ".aws-sam/build/IsodropLayer"
    print(f"   {check_layer(built)}")
    for python in PYTHONS:
        if not _is_installed(python):
            walk.skipped.append(f"the layer built with {python}: it is not installed")
            continue
        _print_step(f"the same layer with {python}")
        other = walk.folder / python
        settings = [f"ARTIFACTS_DIR={other}", f"PYTHON={python}"]
        walk.run("make", "-C", "layers/isodrop", "build-IsodropLayer", *settings)
        check_layer(other)
        _require(
            _read_names(other) == _read_names(built),
            f"other files: {_read_names(other) ^ _read_names(built)}",
        )


def _read_names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def check_layer(built: Path) -> str:
    """Check that everything in a built layer fits both architectures and the runtime.

    Returns
    -------
    str
        A description of its size.
    """
    python = built / "python"
    makefile = (ROOT / "layers/isodrop/Makefile").read_text()
    version = re.search(r"^LAYER_PYTHON \?= (\S+)$", makefile, re.MULTILINE)
    assert version
    abi = f"cpython-{version[1].replace('.', '')}"
    modules: dict[str, set[str]] = {}
    for path in python.rglob("*.so*"):
        name, _, rest = path.name.partition(f".{abi}-")
        architecture = rest.partition("-linux")[0]
        _require(
            architecture in ARCHITECTURES, f"{path.name} is not for Python {version[1]} on Lambda"
        )
        machine = int.from_bytes(path.read_bytes()[18:20], "little")
        _require(machine == ARCHITECTURES[architecture], f"{path.name} is for another architecture")
        modules.setdefault(str(path.parent / name), set()).add(architecture)
    _require(modules, "there is no compiled module")
    for name, architectures in modules.items():
        _require(architectures == ARCHITECTURES.keys(), f"{name} exists only for {architectures}")
    for wheel in python.glob("*.dist-info/WHEEL"):
        tags = re.findall(r"^Tag: (\S+)$", wheel.read_text(), re.MULTILINE)
        package = wheel.parent.name.partition("-")[0]
        _require(
            any(tag.endswith("-none-any") for tag in tags)
            or any(f"/{package}/" in name for name in modules),
            f"{package} is compiled, but not for Lambda: {tags}",
        )
    size = sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    _require(size < LIMIT, f"{size:,} bytes are more than Lambda accepts")
    return (
        f"{size / 1e6:.1f} MB unzipped, of 250 MB; compiled: {len(modules)}, for both architectures"
    )


# ------------------------------------------------------------------------- with SAM


def _deploy(walk: Walk, stack: EmulatedStack) -> None:
    _print_step("build for this machine, and update the deployment of make local")
    stack.deploy()
    walk.run("sam", "build", "--no-cached", environ=HOST)
    walk.run("sam", "deploy", "--no-confirm-changeset")
    listed = walk.run("sam", "list", "stack-outputs", "--stack-name", STACK, "--output", "json")
    outputs = {each["OutputKey"]: each["OutputValue"] for each in json.loads(listed)}
    bucket = outputs["UploadBucketName"]

    _print_step("the instructions of make local")
    _follow_guide(walk, stack)

    _print_step("upload an ISO")
    subscription = stack.subscribe("walk", {"source": ["isodrop"]})
    _upload(stack, subscription, bucket, "Win11.iso", 3001)

    _print_step("invoke the function and the state machine with its event")
    event = walk.run("isodrop", "event", f"s3://{bucket}/Win11.iso")
    invoke = ("sam", "remote", "invoke", "--stack-name", STACK, "--event-file", "-")
    _check_next_step(walk.run(*invoke, "ImportIso", input_text=event), "skip")
    another = walk.run("isodrop", "event", f"s3://{bucket}/Win11.iso", "--sequencer", "1")
    _check_next_step(walk.run(*invoke, "ImportIso", input_text=another), "track")
    _check_next_step(walk.run(*invoke, "ImportStateMachine", input_text=another), "skip")

    _print_step("logs")
    logs = walk.run("sam", "logs", "--stack-name", STACK)
    _require('"message": "answered"' in logs, f"no answer in the logs:\n{logs[-800:]}")

    _print_step("delete; the bucket stays")
    walk.run("sam", "delete", "--no-prompts")
    _check_deleted(stack, STACK, bucket)


def _follow_guide(walk: Walk, stack: EmulatedStack) -> None:
    """Run the commands that ``make local`` prints, and check what its rule and queue receive."""
    commands = commands_of(guide(stack))
    if not _is_installed("aws"):
        walk.skipped.append("the AWS CLI commands of make local: aws is not installed")
        commands = [each for each in commands if not each.startswith("aws ")]
    for command in commands:
        walk.run("bash", "-c", command)
    receive_commands = [each for each in commands if each.startswith("aws sqs receive-message")]
    stack.wait_for(
        lambda: all(
            "ISO Import Succeeded" in walk.run("bash", "-c", each) for each in receive_commands
        )
    )


def commands_of(guide: str) -> list[str]:
    """Read the commands from a guide, except those that never end or were run before."""
    _, _, instructions = guide.partition("In another terminal")
    lines = [line.strip() for line in instructions.splitlines() if line.startswith("  ")]
    elsewhere = ("#", "export ", "LAYER_PLATFORMS", "isodrop watch")
    return [line for line in lines if not line.startswith(elsewhere)]


def _upload(
    stack: EmulatedStack, subscription: Subscription, bucket: str, key: str, revision: int
) -> None:
    """Upload a new ISO, and wait for its answer."""
    with tempfile.TemporaryDirectory() as folder:
        iso = make_iso(Path(folder, "made.iso"), editions=business_editions(revision=revision))
        stack.client("s3").upload_file(str(iso), bucket, key)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in subscription.events():
            data = event["detail"]["data"]
            if data["source"]["key"] == key and event["detail-type"] == "ISO Import Succeeded":
                print(f"   {event['detail-type']}: {key} is {data['amis'][0]['id']}")
                return
        time.sleep(0.1)
    raise StepError(
        f"no answer for {key}; received {[e['detail-type'] for e in subscription.events()]}"
    )


def _check_next_step(output: str, step: str) -> None:
    _require(f'"nextStep": "{step}"' in output, f"not {step}: {output[-400:]}")


def _check_deleted(stack: EmulatedStack, name: str, bucket: str) -> None:
    stacks = stack.client("cloudformation").list_stacks()["StackSummaries"]
    left = [each for each in stacks if each["StackName"] == name]
    _require(all(each["StackStatus"] == "DELETE_COMPLETE" for each in left), f"still there: {left}")
    stack.client("s3").head_bucket(Bucket=bucket)


# ------------------------------------------------------------------------- with the package


def _package(walk: Walk, stack: EmulatedStack) -> None:
    _print_step("package, for this machine")
    folder = walk.clone / "build/package"
    settings = [f"{name}={value}" for name, value in HOST.items()]
    walk.run(sys.executable, "-m", "tools.package", "build/package", *settings)
    walk.run("cfn-lint", "build/package/template.json")
    for bucket in (ARTIFACTS, EXISTING):
        stack.client("s3").create_bucket(Bucket=bucket)
    if _is_installed("aws"):
        _with_cloudformation(walk, stack)
    else:
        walk.skipped.append("the package with the AWS CLI: aws is not installed")
    if _is_installed("npm"):
        _with_cdk(walk, folder)
    else:
        walk.skipped.append("the CDK snippet: npm is not installed")
    if _is_installed("terraform"):
        _with_terraform(walk, stack)
    else:
        walk.skipped.append("the Terraform snippet: terraform is not installed")


def _with_cloudformation(walk: Walk, stack: EmulatedStack) -> None:
    _print_step("deploy the package with an existing bucket")
    walk.run("aws", "s3", "cp", "--recursive", "build/package", f"s3://{ARTIFACTS}/isodrop/")
    walk.run(
        *("aws", "cloudformation", "deploy", "--stack-name", PACKAGED),
        *("--template-file", "build/package/template.json", "--capabilities", "CAPABILITY_IAM"),
        *("--s3-bucket", ARTIFACTS, "--parameter-overrides", f"ArtifactBucket={ARTIFACTS}"),
        *(f"ExistingBucketName={EXISTING}", "KeyPrefix=isos/", "MinIsoMegabytes=0"),
    )
    _check_notification_command(walk, stack)
    subscription = stack.subscribe(PACKAGED, {"source": ["isodrop"]})
    _upload(stack, subscription, EXISTING, "isos/Win11.iso", 3002)
    walk.run("aws", "cloudformation", "delete-stack", "--stack-name", PACKAGED)
    walk.run("aws", "cloudformation", "wait", "stack-delete-complete", "--stack-name", PACKAGED)
    _check_deleted(stack, PACKAGED, EXISTING)


def _check_notification_command(walk: Walk, stack: EmulatedStack) -> None:
    """Run the output EnableEventBridgeCommand on buckets with and without notifications."""
    described = stack.client("cloudformation").describe_stacks(StackName=PACKAGED)["Stacks"][0]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
    s3, sqs = stack.client("s3"), stack.client("sqs")
    queue = sqs.create_queue(QueueName="invoice-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    existing = [{"Id": "invoices", "QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}]
    for before in ({}, {"QueueConfigurations": existing}):
        s3.put_bucket_notification_configuration(Bucket=EXISTING, NotificationConfiguration=before)
        walk.run("sh", "-c", outputs["EnableEventBridgeCommand"])
        after = s3.get_bucket_notification_configuration(Bucket=EXISTING)
        del after["ResponseMetadata"]
        _require(after == {**before, "EventBridgeConfiguration": {}}, f"{before} became {after}")


def snippet(language: str) -> str:
    """Return the only block of a language in docs/deploying.md."""
    text = (ROOT / "docs/deploying.md").read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def _with_cdk(walk: Walk, package: Path) -> None:
    _print_step("CDK: the snippet of docs/deploying.md")
    folder = walk.folder / "cdk"
    folder.mkdir()
    (folder / "app.mjs").write_text(snippet("javascript"))
    (folder / "build").symlink_to(package.parent)
    install = ("npm", "install", "--no-audit", "--no-fund", "--silent")
    walk.run(*install, "aws-cdk-lib", "constructs", within=folder)
    walk.run("node", "app.mjs", within=folder, environ={"CDK_OUTDIR": str(folder / "out")})
    resources = _resources(folder / "out/isodrop.template.json")
    _require(
        resources.items() >= _resources(package / "template.json").items(), "CDK left something out"
    )


def _resources(template: Path) -> dict[str, str]:
    found = json.loads(template.read_text())["Resources"]
    return {name: resource["Type"] for name, resource in found.items()}


def _with_terraform(walk: Walk, stack: EmulatedStack) -> None:
    _print_step("Terraform: the snippet of docs/deploying.md")
    folder = walk.folder / "terraform"
    folder.mkdir()
    (folder / "main.tf").write_text(snippet("hcl"))
    (folder / "build").symlink_to(walk.clone / "build")
    # Terraform merges this into the snippet: the emulator has no host for each bucket.
    address = f"{stack.endpoint}/{ARTIFACTS}/isodrop/template.json"
    (folder / "here_override.tf").write_text(
        'provider "aws" {\n  skip_credentials_validation = true\n'
        "  skip_requesting_account_id = true\n  s3_use_path_style = true\n}\n"
        f'resource "aws_cloudformation_stack" "isodrop" {{\n  template_url = "{address}"\n}}\n'
    )
    try:
        walk.run("terraform", "init", "-no-color", within=folder)
    except StepError as error:
        why = next((line for line in str(error).splitlines() if "Error:" in line), "")
        reason = f"its provider could not be downloaded: {why.strip()}"
        walk.skipped.append(f"the Terraform snippet: {reason}")
        return
    walk.run("terraform", "validate", "-no-color", within=folder)
    walk.run("terraform", "apply", "-no-color", "-auto-approve", within=folder)
    walk.run("terraform", "destroy", "-no-color", "-auto-approve", within=folder)


if __name__ == "__main__":
    sys.exit(main())
