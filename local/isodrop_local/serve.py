"""The stack on this machine, left running: ``make local``."""

import argparse
import platform
import sys
import time

from isodrop_local.console_output import ConsoleOutput
from isodrop_local.containers import host_address
from isodrop_local.demo import EXITS, TROUBLE, TROUBLES, deployed, end_on_signals
from isodrop_local.stack import ACCOUNT, FASTER, REGION, LocalStack

GUIDE = """
  endpoint   {endpoint}
  bucket     {bucket}
  machine    {machine}
  ledger     {ledger}

In another terminal, in this folder (sam is in .venv; of the AWS CLI any version will do):

  export AWS_ENDPOINT_URL={endpoint} AWS_REGION={region} AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={account} AWS_SECRET_ACCESS_KEY=none PATH="$PWD/.venv/bin:$PATH"

  # make an ISO, see what would become of it, and drop it
  mkdir -p build && python -m isodrop_local.iso_maker build/Win11.iso
  isodrop inspect build/Win11.iso
  isodrop drop build/Win11.iso       # or: aws s3 cp build/Win11.iso s3://{bucket}/

  # see what became of it, ask for another edition of it, begin another build and stop it
  isodrop list
  isodrop status s3://{bucket}/Win11.iso
  isodrop retry s3://{bucket}/Win11.iso --set edition=EnterpriseN --wait
  drop=s3://{bucket}/Win11.iso; isodrop retry $drop --set rebuild=2 && isodrop cancel $drop

  # follow what others drop, until Ctrl-C
  isodrop watch

  # hear the answers, by a rule and a queue of your own; the AWS CLI 1 wants to be told where SQS is
  aws events put-rule --name answers --event-pattern '{{"source": ["isodrop"]}}'
  aws sqs create-queue --queue-name answers --endpoint-url {endpoint}
  aws events put-targets --rule answers --targets Id=q,Arn=arn:aws:sqs:{region}:{account}:answers
  aws sqs receive-message --queue-url {endpoint}/{account}/answers --endpoint-url {endpoint}

  # answer what nobody answered, start what was never started, however young
  sam remote invoke Sweep --event '{{"graceMinutes": 0}}' --stack-name isodrop

  # look behind it
  aws stepfunctions list-executions --state-machine-arn {machine}
  aws imagebuilder list-image-build-versions
  aws ec2 describe-images --owners self

  # deploy what you change, with the SAM CLI; build anew before you deploy to AWS
  LAYER_PLATFORMS=host sam build --no-cached && sam deploy --no-confirm-changeset

{in_a_container}
  # drop it without the AWS CLI
  python -c 'import boto3; boto3.client("s3").upload_file("build/Win11.iso", "{bucket}", "2.iso")'

What isodrop says appears here. Ctrl-C ends the stack and leaves nothing behind.
"""

IN_A_CONTAINER = """\
  # take another ISO from its upload to ImportDiskImage, in Lambda's own container image
  sam build --no-cached
  python -m isodrop_local.iso_maker build/25H2.iso --build 26200
  python -c 'import boto3; s3 = boto3.client("s3"); s3.create_bucket(Bucket="tries"); \
s3.upload_file("build/25H2.iso", "tries", "25H2.iso")'
  isodrop env --endpoint-url {reached} > build/env.json
  isodrop event s3://tries/25H2.iso > build/event.json
  sam local invoke ImportIso --event build/event.json {with_settings}

  # tell of it, and let the sweep answer, since no execution follows it
  isodrop event s3://tries/25H2.iso --report started > build/report.json
  sam local invoke ReportBuild --event build/report.json {with_settings}
  echo '{{"graceMinutes": 0}}' | sam local invoke Sweep --event - {with_settings}
"""
ONLY_THEN = """\
  # call a function in Lambda's own container image: start with make local CONTAINERS=1
"""


def main(arguments: list[str] | None = None) -> int:
    """Keep the stack up until it is told to end."""
    parser = argparse.ArgumentParser(prog="make local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where it listens; any free one")
    parser.add_argument("--wait-scale", type=float, default=FASTER, help="1 is real time")
    parser.add_argument(
        "--containers", metavar="ADDRESS", help="listen where containers reach it, too; 1 finds it"
    )
    said = parser.parse_args(arguments)
    end_on_signals()
    narrator = ConsoleOutput(keys=True)
    try:
        narrator.say("starting", "starting the stack on this machine")
        reached = host_address(said.containers) if said.containers else None
        also = [reached] if reached else []
        with LocalStack(wait_scale=said.wait_scale, port=said.port, also=also) as stack:
            deployed(narrator, stack)
            print(guide(stack, reached), flush=True)
            tell(narrator, stack)
    except TROUBLES as error:
        narrator.say("trouble", f"{type(error).__name__}: {error}", "bad")
        return TROUBLE
    except KeyboardInterrupt:
        print()
    return 0


def guide(stack: LocalStack, reached: str | None = None) -> str:
    """Say how the stack is used; in containers, too, if they reach it by an address."""
    in_a_container = ONLY_THEN
    if reached:
        port = stack.endpoint.rpartition(":")[2]
        with_settings = f"--env-vars build/env.json {architecture()}"
        in_a_container = IN_A_CONTAINER.format(
            reached=f"http://{reached}:{port}", with_settings=with_settings.strip()
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
    """Choose this machine's architecture where it is not the template's own."""
    is_arm = platform.machine() in ("arm64", "aarch64")
    return "" if is_arm else "--parameter-overrides Architecture=x86_64"


def tell(narrator: ConsoleOutput, stack: LocalStack) -> None:
    """Tell what is heard, for ever."""
    told = 0
    while True:
        heard = stack.events()
        for event in heard[told:]:
            narrator.event(event)
            if EXITS.get(event["detail-type"]):
                narrator.advise(event)
        told = len(heard)
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
