"""Breaks the promise on purpose, one way at a time, and sees whether a test says so.

``python -m tests.resilience.mutants`` copies the tree, changes a few words of it, runs a fast part
of the tests there and expects them to fail. It ends with 1 if a mutant survives, if the words
that it changes are no longer there, or if the tests fail without one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
INTAKE: Final = "layers/isodrop/isodrop/services/intake.py"
SUBMISSION: Final = "layers/isodrop/isodrop/services/submission.py"
DISTRIBUTION: Final = "layers/isodrop/isodrop/services/distribution.py"
BUDGET: Final = "layers/isodrop/isodrop/aws/ledger_budget.py"
LEDGER: Final = "layers/isodrop/isodrop/aws/ledger.py"
LEDGER_TABLE: Final = "layers/isodrop/isodrop/aws/ledger_table.py"
LEDGER_WRITES: Final = "layers/isodrop/isodrop/aws/ledger_writes.py"
TRANSACTIONS: Final = "layers/isodrop/isodrop/aws/transactions.py"
STAGING: Final = "layers/isodrop/isodrop/services/staging.py"
STAGING_BUCKET: Final = "layers/isodrop/isodrop/aws/staging.py"
SWEEP: Final = "layers/isodrop/isodrop/services/sweep.py"
REPORTS: Final = "layers/isodrop/isodrop/services/reporting.py"
OUTCOMES: Final = "layers/isodrop/isodrop/services/outcomes.py"
RESULTS: Final = "layers/isodrop/isodrop/domain/results.py"
MACHINE: Final = "statemachine/import.asl.json"
TESTS: Final = (
    "tests/integration/test_budget.py",
    "tests/integration/test_annotations.py",
    "tests/integration/test_import.py",
    "tests/integration/test_import_retries.py",
    "tests/integration/test_new_amis.py",
    "tests/integration/test_distribution.py",
    "tests/integration/test_staging.py",
    "tests/integration/test_ledger.py",
    "tests/integration/test_operations.py",
    "tests/integration/test_resilience.py",
    "tests/integration/test_random_schedules.py",
)
PARTS: Final = (
    *("cli", "events", "functions", "layers", "local", "statemachine", "tests", "tools"),
    *("monitoring.yaml", "pyproject.toml", "template.yaml"),
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break the promise.

    Attributes
    ----------
    name : str
        What is broken.
    file, old, new : str
        Where, which words, and what stands there instead; ``old`` must be there, once.
    """

    name: str
    file: str
    old: str
    new: str


MUTANTS: Final = (
    Mutant(
        "there is no budget at once",
        BUDGET,
        "attribute_not_exists(attempts) OR size(attempts) < :limit",
        "attribute_not_exists(attempts) OR size(attempts) <= :limit",
    ),
    Mutant(
        "there is no budget in a day",
        BUDGET,
        "attribute_not_exists(builds) OR builds < :limit",
        "attribute_not_exists(builds) OR builds <= :limit",
    ),
    Mutant(
        "an attempt in the budget is written twice",
        TRANSACTIONS,
        '{"Item": item, "ConditionExpression": "attribute_not_exists(pk)"}',
        '{"Item": item, "ConditionExpression": "attribute_not_exists(gone)"}',
    ),
    Mutant(
        "a budget that is used up in a day is waited for",
        BUDGET,
        "raise RejectedError(\n            Code.BUDGET_USED_UP,\n",
        "raise QuotaError(\n",
    ),
    Mutant(
        "a refused import stays in the budget",
        LEDGER,
        "status not in {AttemptStatus.REFUSED, AttemptStatus.LOST}:",
        "status not in {AttemptStatus.LOST}:",
    ),
    Mutant(
        "a build that is over stays under way",
        RESULTS,
        "return EndedBuilds((imported.attempt,), tuple(succeeded), image)",
        "return EndedBuilds((), tuple(succeeded), image)",
    ),
    Mutant(
        "the sweep releases nothing",
        "layers/isodrop/isodrop/services/sweep.py",
        "if not auditor.is_under_way(attempt, self.now()):",
        "if not attempt:",
    ),
    Mutant(
        "an image that is gone is kept in mind",
        "layers/isodrop/isodrop/services/latest.py",
        "            self.ledger.retire(image)",
        "            pass",
    ),
    Mutant(
        "the token leaves out the ETag",
        SUBMISSION,
        "token = client_token(task.source.etag,",
        'token = client_token("",',
    ),
    Mutant(
        "the token leaves out the attempt",
        "layers/isodrop/isodrop/domain/ids.py",
        '_digest("token", etag, identity, stack, attempt)',
        '_digest("token", etag, identity, stack)',
    ),
    Mutant(
        "the import's identity has the key in it",
        "layers/isodrop/isodrop/domain/ids.py",
        '        "import",\n        content_id,',
        '        "import",\n        plan.description,\n        content_id,',
    ),
    Mutant(
        "a repeat advances the attempt",
        SUBMISSION,
        "        if not self._lives(attempt, build_arn, task):",
        "        if attempt.build_arn != build_arn or attempt.number >= 0:",
    ),
    Mutant(
        "a disabled image is handed on",
        SUBMISSION,
        "if build is None or build.phase is BuildPhase.FAILED:",
        "if build is None:",
    ),
    Mutant(
        "a lost build is never built again",
        SUBMISSION,
        "if build is None or build.phase is BuildPhase.FAILED:\n            return False",
        "if build is None or build.phase is BuildPhase.FAILED:\n"
        "            return build is not None",
    ),
    Mutant(
        "an AMI that EC2 does not know yet is built again",
        SUBMISSION,
        "if is_just_available(self.ledger, attempt, build, self.now()):",
        "if is_just_available(self.ledger, attempt, build, self.now()) and not build.amis:",
    ),
    Mutant(
        "a build that Image Builder does not know yet is begun again",
        SUBMISSION,
        "if build is None and is_just_submitted(read_attempt(), now):",
        "if build is None and read_attempt().build_arn is None:",
    ),
    Mutant(
        "an answer does not wait for EC2 to know the AMI",
        OUTCOMES,
        "if self.builder.amis_exist(build):",
        "if build.amis:",
    ),
    Mutant(
        "there is no end to the attempts",
        SUBMISSION,
        "if lost >= self.max_consecutive_failures:",
        "if lost >= self.max_consecutive_failures * 2:",
    ),
    Mutant(
        "an answer is given without a claim",
        LEDGER,
        "return found if found.execution_arn == execution else None",
        "return found",
    ),
    Mutant(
        "the claim has no condition",
        LEDGER_TABLE,
        '                    ConditionExpression=Attr("pk").not_exists(),\n',
        "",
    ),
    Mutant(
        "FailedEntryCount is ignored",
        "layers/isodrop/isodrop/aws/event_bus.py",
        'if answer["FailedEntryCount"]:',
        'if answer["FailedEntryCount"] > 1:',
    ),
    Mutant(
        "the request is not frozen",
        SUBMISSION,
        "return earlier or task.send(attempt.request)",
        "return earlier or task.send("
        "task.make_request(attempt.client_token,"
        ' {**attempt.request["tags"], "isodrop:again": "yes"}))',
    ),
    Mutant(
        "a permanent error is waited out",
        "layers/isodrop/isodrop/aws/errors.py",
        "    return PermanentError(message, code=refused, aws_code=code)",
        "    return TransientError(message, aws_code=code)",
    ),
    Mutant(
        "a transient error is given up on",
        "layers/isodrop/isodrop/aws/errors.py",
        "if status >= _SERVER_ERROR or status == _TOO_MANY:",
        "if status == _TOO_MANY:",
    ),
    Mutant(
        "there is no Catch around the whole",
        MACHINE,
        '"Next": "PublishFailure"',
        '"Next": "UploadHandled"',
    ),
    Mutant(
        "a function that died is not asked again",
        MACHINE,
        '"MaxDelaySeconds": 60,\n                  "MaxAttempts": 4,',
        '"MaxDelaySeconds": 60,\n                  "MaxAttempts": 0,',
    ),
    Mutant(
        "a throttled look ends the tracking",
        MACHINE,
        '"Condition": "{% $pollErrors * ${PollIntervalSeconds} >= 10800 %}"',
        '"Condition": "{% $pollErrors > 0 %}"',
    ),
    Mutant(
        "that an import is sent is not written before it is",
        SUBMISSION,
        "wanted = AttemptStatus.SUBMITTED if task.is_ready(attempt) else AttemptStatus.LOST",
        "wanted = AttemptStatus.PREPARED if task.is_ready(attempt) else AttemptStatus.LOST",
    ),
    Mutant(
        "a refused request is sent again",
        SUBMISSION,
        "        if status is AttemptStatus.REFUSED:",
        "        if status is None:",
    ),
    Mutant(
        "who knows less overrules the ledger",
        LEDGER,
        'Attr("status").eq(attempt.status.value)',
        'Attr("status").exists()',
    ),
    Mutant(
        "a verdict is made anew",
        LEDGER,
        'unless=["decision"]',
        "unless=[]",
    ),
    Mutant(
        "an answer is overwritten",
        LEDGER,
        'unless=["answer"]',
        "unless=[]",
    ),
    Mutant(
        "an answer that was written before is annotated again",
        REPORTS,
        "        if is_new:\n",
        "        if build:\n",
    ),
    Mutant(
        "an attempt is created for a run that has stopped",
        LEDGER_WRITES,
        'unless=[names.attempt, names.build_arn, names.failure, "answer"]',
        "unless=[names.attempt, names.build_arn]",
    ),
    Mutant(
        "a cancelled run is imported",
        LEDGER,
        "        if kind is BuildKind.IMPORT:\n"
        "            _refuse_if_cancelled(result, position=1)",
        "        if kind is BuildKind.DISTRIBUTION:\n"
        "            _refuse_if_cancelled(result, position=1)",
    ),
    Mutant(
        "a run that was cancelled while it was inspected is copied",
        LEDGER,
        "            check_absent(cancellation_key(run)),\n        )\n",
        "        )\n",
    ),
    Mutant(
        "an image is published that the ledger does not list",
        LEDGER,
        "            *map(put, images),\n",
        "",
    ),
    Mutant(
        "an answer is published before it is written",
        REPORTS,
        "        run, is_new = self.ledger.record_answer(",
        "        self._publish(event, run)\n        run, is_new = self.ledger.record_answer(",
    ),
    Mutant(
        "an answer is marked as published before it is",
        REPORTS,
        "        self._publish(event, run)\n        # Before the ledger",
        "        self.ledger.mark_answered(run, timestamp(self.now()))\n"
        "        self._publish(event, run)\n        # Before the ledger",
    ),
    Mutant(
        "an image is answered for before it is distributed",
        DISTRIBUTION,
        "        task = self._task(run)\n",
        "        task = None\n",
    ),
    Mutant(
        "a distribution has the tags of its import",
        SUBMISSION,
        'f"isodrop:{task.kind}": task.key,',
        'f"isodrop:{BuildKind.IMPORT}": (run.import_build.attempt or (task.key,))[0],',
    ),
    Mutant(
        "a distribution that failed is taken for one that did not",
        RESULTS,
        "if distributed is None or distributed.phase is not BuildPhase.SUCCEEDED:",
        "if distributed is None:",
    ),
    Mutant(
        "what was begun is left when the stack distributes no more",
        DISTRIBUTION,
        "if run.distribution.attempt is not None:",
        "if run.distribution.attempt is not None and self.settings is not None:",
    ),
    Mutant(
        "the state machine does not follow the distribution",
        MACHINE,
        '"Condition": "{% $exists($states.input.buildArn) and $states.input.buildArn != null %}"',
        '"Condition": "{% $exists($states.input.trackedBuildArn) %}"',
    ),
    Mutant(
        "the import's identity leaves out the content",
        "layers/isodrop/isodrop/domain/ids.py",
        '        "import",\n        content_id,',
        '        "import",',
    ),
    Mutant(
        "what is copied is not pinned to the version",
        STAGING_BUCKET,
        'named["VersionId"] = source.version',
        'named.pop("VersionId", None)',
    ),
    Mutant(
        "what is copied is not pinned to the ETag",
        STAGING_BUCKET,
        "CopySourceIfMatch=f'\"{source.etag}\"',",
        "",
    ),
    Mutant(
        "a part that is there already is copied again",
        STAGING_BUCKET,
        "if part.number in there and there[part.number].size == part.length",
        "if part.number in there and there[part.number].size > part.length",
    ),
    Mutant(
        "a completion whose answer was lost is taken for a failure",
        STAGING_BUCKET,
        "if code in _CONFLICT or not self.has_copy(key, content):",
        "if True:",
    ),
    Mutant(
        "a completion that came to nothing is taken for a success",
        STAGING_BUCKET,
        "if code in _CONFLICT or not self.has_copy(key, content):",
        "if False:",
    ),
    Mutant(
        "a copy of other bytes is taken for the one that was made",
        STAGING_BUCKET,
        'return head["ContentLength"] == content.size and _checksum(head) == content.checksum',
        'return bool(head["ContentLength"])',
    ),
    Mutant(
        "checksums that are missing are passed over",
        STAGING_BUCKET,
        "    if not found:",
        '    if not found and found != "":\n        return ""\n    if found == "-":',
    ),
    Mutant(
        "a copy is not looked for before it is first imported",
        STAGING,
        "                self.ensure_copy(run)",
        "                pass",
    ),
    Mutant(
        "another's copy is not looked for before it is imported",
        STAGING,
        "return self.bucket.has_copy(copy_key(owner), owner.content)",
        "return True",
    ),
    Mutant(
        "what was copied is not looked at again without versions",
        STAGING,
        "        if run.upload.version is None:",
        "        if run.upload.version == run.upload_id:",
    ),
    Mutant(
        "a copy is deleted while its build runs",
        STAGING,
        "        return build.phase is not BuildPhase.RUNNING",
        "        return True",
    ),
    Mutant(
        "a copy is deleted whose request may have been sent",
        STAGING,
        "        if build_arn is None:\n            return False",
        "        if build_arn is None:\n            return True",
    ),
    Mutant(
        "copies are left when their import is over",
        STAGING,
        "        return build.phase is not BuildPhase.RUNNING",
        "        return False",
    ),
    Mutant(
        "who joins leaves its copy",
        STAGING,
        "return is_settled or bound is not None",
        "return False",
    ),
    Mutant(
        "the multipart upload is not written before the first part",
        STAGING,
        "begun = self.ledger.record_staging(run, upload_id, run.staging)",
        "begun = replace(run, staging=upload_id)",
    ),
    Mutant(
        "the sweep removes what it does not know",
        SWEEP,
        "            return False  # not known, or on its way",
        "            return True",
    ),
    Mutant(
        "the sweep answers for executions that go on",
        "layers/isodrop/isodrop/aws/step_functions.py",
        "return self.status not in _GOING_ON",
        "return True",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.resilience.mutants", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="only those whose name has one of these words")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="how many are run at once"
    )
    said = parser.parse_args()
    chosen = [
        each for each in MUTANTS if not said.names or any(word in each.name for word in said.names)
    ]
    began = time.monotonic()
    said_unchanged = hunted(None)
    print(
        f"{'the code as it is':<52} {said_unchanged}  ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    if said_unchanged != "SURVIVED":
        print("The tests fail without a mutant, so that one proves nothing.", file=sys.stderr)
        return 1
    survived = 0
    with ThreadPoolExecutor(said.jobs) as pool:
        running = [pool.submit(timed, mutant) for mutant in chosen]
        for done in as_completed(running):
            mutant, end, seconds = done.result()
            survived += not end.startswith("killed")
            print(f"{mutant.name:<52} {end}  ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {survived} survived")
    return 1 if survived else 0


def timed(mutant: Mutant) -> tuple[Mutant, str, float]:
    """Run the tests against a mutant, and take the time."""
    began = time.monotonic()
    return mutant, hunted(mutant), time.monotonic() - began


def hunted(mutant: Mutant | None) -> str:
    """Run the tests against a mutant (or none); say which one killed it, or that none did."""
    with tempfile.TemporaryDirectory(prefix="isodrop-mutant-") as folder:
        for part in PARTS:
            source, copy = ROOT / part, Path(folder, part)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
        if mutant:
            file = Path(folder, mutant.file)
            words = file.read_text()
            if words.count(mutant.old) != 1:
                return f"NOT APPLIED: {mutant.file} has its words {words.count(mutant.old)} times"
            file.write_text(words.replace(mutant.old, mutant.new))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-p", "no:randomly", *TESTS],
            cwd=folder,
            # The copy's layer comes before the one that is installed.
            env={
                **os.environ,
                "PYTHONPATH": f"{folder}/layers/isodrop:{folder}/cli:{folder}/local",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return "SURVIVED"
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode != 1 or not failed:
        return f"NOT RUN: {(done.stdout + done.stderr)[-500:]}"
    return "killed by " + failed[0].split(" - ")[0].rpartition("::")[2]


if __name__ == "__main__":
    sys.exit(main())
