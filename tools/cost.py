"""What one import costs besides Image Builder: counted and timed on the stack.

``python -m tools.cost`` uploads an ISO to the emulator and prints what the state machine and the
functions did, and what that costs at the prices below; docs/deploying.md has the formula.
"""

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from isodrop_local.iso_maker import make_iso
from isodrop_local.stack import EmulatedStack
from tools.bench.polling import ALWAYS, POLL, PROGRESS, STEPS

# us-east-1, in dollars: aws.amazon.com/step-functions/pricing and aws.amazon.com/lambda/pricing
TRANSITION: Final = 0.025 / 1000
INVOCATION: Final = 0.20 / 1_000_000
GB_SECOND: Final = 0.0000133334  # arm64
KEY: Final = "Win11.iso"


def main() -> None:
    """Import once, count, and print."""
    with EmulatedStack(wait_scale=0.01) as stack, tempfile.TemporaryDirectory() as folder:
        stack.deploy()
        stack.upload(make_iso(Path(folder, KEY)), KEY)
        stack.wait_for_answer(KEY, timeout=120)
        stack.settle()
        (execution,) = stack.executions()
        history = stack.client("stepfunctions").get_execution_history(
            executionArn=execution["executionArn"], maxResults=1000, includeExecutionData=False
        )["events"]
        reports = [
            message
            for group in stack.client("logs").describe_log_groups()["logGroups"]
            for event in stack.client("logs").filter_log_events(logGroupName=group["logGroupName"])[
                "events"
            ]
            if (message := event["message"]).startswith("REPORT ")
        ]
    tasks = Counter(
        event["taskScheduledEventDetails"]["resource"].rpartition(":")[2]
        for event in history
        if event["type"] == "TaskScheduled"
    )
    # All invocations but three: the import, the notification Started and the answer.
    polls, changes = tasks["getImage"], tasks["invoke"] - 3
    readings = tasks["listWorkflowExecutions"]
    transitions = ALWAYS + POLL * (polls - 1) + STEPS * readings + PROGRESS * changes
    seconds = sum(
        int(found[1]) for each in reports if (found := re.search(r"Duration: (\d+)", each))
    )
    memory = {
        int(found[1]) for each in reports if (found := re.search(r"Memory Size: (\d+)", each))
    }
    gigabytes = max(memory) / 1024
    print(f"polls                         {polls}")
    print(f"step queries                  {readings}")
    print(f"progress notifications        {changes}")
    print(f"state transitions             {transitions}  ${transitions * TRANSITION:.5f}")
    print(f"invocations                   {len(reports)}  ${len(reports) * INVOCATION:.7f}")
    print(
        f"their time, {max(memory)} MB           {seconds} ms"
        f"  ${seconds / 1000 * gigabytes * GB_SECOND:.7f}"
    )


if __name__ == "__main__":
    main()
