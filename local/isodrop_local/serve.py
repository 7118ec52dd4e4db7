"""Run the stack on this machine until Ctrl-C: ``make local``."""

import argparse
import platform
import sys
import time

from isodrop_cli.exit_codes import ExitCode
from isodrop_local.console_output import ConsoleOutput
from isodrop_local.containers import host_address
from isodrop_local.demo import ERRORS, EXIT_CODES, deploy_stack, end_on_signals
from isodrop_local.stack import ACCOUNT, DEFAULT_WAIT_SCALE, REGION, EmulatedStack

GUIDE = """
  endpoint   {endpoint}
  bucket     {bucket}
  machine    {machine}
  ledger     {ledger}

In another terminal, in this folder (sam is in .venv; any version of the AWS CLI works):

  export AWS_ENDPOINT_URL={endpoint} AWS_REGION={region} AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={account} AWS_SECRET_ACCESS_KEY=none PATH="$PWD/.venv/bin:$PATH"

  # make an ISO, inspect it, and upload it
  mkdir -p build && python -m isodrop_local.iso_maker build/Win11.iso
  isodrop inspect build/Win11.iso
  isodrop upload build/Win11.iso     # or: aws s3 cp build/Win11.iso s3://{bucket}/

  # show its results, import another edition of it, start another build and cancel it
  isodrop list
  isodrop status Win11.iso
  isodrop retry Win11.iso --set edition=EnterpriseN --wait
  isodrop retry Win11.iso --set rebuild=2 && isodrop cancel Win11.iso

  # follow all imports, until Ctrl-C
  isodrop watch

  # receive the answers with your own rule and queue; version 1 of the AWS CLI needs SQS's endpoint
  aws events put-rule --name answers --event-pattern '{{"source": ["isodrop"]}}'
  aws sqs create-queue --queue-name answers --endpoint-url {endpoint}
  aws events put-targets --rule answers --targets Id=q,Arn=arn:aws:sqs:{region}:{account}:answers
  aws sqs receive-message --queue-url {endpoint}/{account}/answers --endpoint-url {endpoint}

  # run a sweep: it handles lost events and unanswered runs, however recent
  sam remote invoke Sweep --event '{{"minAgeMinutes": 0}}' --stack-name isodrop

  # list the resources that the imports created
  aws stepfunctions list-executions --state-machine-arn {machine}
  aws imagebuilder list-image-build-versions
  aws ec2 describe-images --owners self

  # deploy your changes with the SAM CLI; build again before you deploy to AWS
  LAYER_PLATFORMS=host sam build --no-cached && sam deploy --no-confirm-changeset

{in_a_container}
  # upload Win11.iso without the AWS CLI
  python -c 'import boto3; boto3.client("s3").upload_file("build/Win11.iso", "{bucket}", "2.iso")'

isodrop's events appear here. Ctrl-C stops the stack and removes everything.
"""

IN_A_CONTAINER = """\
  # process another ISO from its upload to ImportDiskImage, in Lambda's own container image
  sam build --no-cached
  python -m isodrop_local.iso_maker build/25H2.iso --build 26200
  python -c 'import boto3; s3 = boto3.client("s3"); s3.create_bucket(Bucket="tries"); \
s3.upload_file("build/25H2.iso", "tries", "25H2.iso")'
  isodrop env --endpoint-url {endpoint} --bucket tries > build/env.json
  isodrop event s3://tries/25H2.iso > build/event.json
  sam local invoke ImportIso --event build/event.json {with_settings}

  # report on it, and let the sweep answer, since no execution tracks it
  isodrop event s3://tries/25H2.iso --report started > build/report.json
  sam local invoke ReportBuild --event build/report.json {with_settings}
  echo '{{"minAgeMinutes": 0}}' | sam local invoke Sweep --event - {with_settings}
"""
CONTAINERS_HINT = """\
  # to invoke a function in Lambda's own container image, start with make local CONTAINERS=1
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the stack until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help="the port to listen on (default: any free one)"
    )
    parser.add_argument(
        "--wait-scale",
        type=float,
        default=DEFAULT_WAIT_SCALE,
        help="how long waits and builds take, as a fraction of real time",
    )
    parser.add_argument(
        "--containers",
        metavar="ADDRESS",
        help="listen on an address that containers reach, too; 1 detects it",
    )
    options = parser.parse_args(arguments)
    end_on_signals()
    output = ConsoleOutput(keys=True)
    try:
        output.print_step("starting", "starting the stack on this machine")
        container_address = host_address(options.containers) if options.containers else None
        with EmulatedStack(
            wait_scale=options.wait_scale,
            port=options.port,
            extra_addresses=[container_address] if container_address else [],
        ) as stack:
            deploy_stack(output, stack)
            print(guide(stack, container_address), flush=True)
            print_events(output, stack)
    except ERRORS as error:
        output.print_step("error", f"{type(error).__name__}: {error}", "bad")
        return ExitCode.ERROR
    except KeyboardInterrupt:
        print()
    return ExitCode.OK


def guide(stack: EmulatedStack, container_address: str | None = None) -> str:
    """Format the instructions, with those for containers if they can reach the stack."""
    in_a_container = CONTAINERS_HINT
    if container_address:
        port = stack.endpoint.rpartition(":")[2]
        with_settings = f"--env-vars build/env.json {architecture()}"
        in_a_container = IN_A_CONTAINER.format(
            endpoint=f"http://{container_address}:{port}", with_settings=with_settings.strip()
        )
    return GUIDE.format(
        in_a_container=in_a_container,
        endpoint=stack.endpoint,
        bucket=stack.bucket,
        machine=stack.outputs["ImportStateMachineArn"],
        ledger=stack.outputs["LedgerTableName"],
        region=REGION,
        account=ACCOUNT,
    )


def architecture() -> str:
    """Return the option for this machine's architecture, if it is not the template's default."""
    is_arm = platform.machine() in ("arm64", "aarch64")
    return "" if is_arm else "--parameter-overrides Architecture=x86_64"


def print_events(output: ConsoleOutput, stack: EmulatedStack) -> None:
    """Print events as they come, forever."""
    printed = 0
    while True:
        events = stack.events()
        for event in events[printed:]:
            output.print_event(event)
            if EXIT_CODES.get(event["detail-type"]):
                output.print_next_steps(event)
        printed = len(events)
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
