"""Breaks the code on purpose, one way at a time, and checks that a test fails.

``python -m tests.resilience.mutants`` copies the tree, changes one expression, runs the fast tests
there and expects a failure. It exits with 1 if a mutant survives, if the code that it replaces does
not occur exactly once, or if the tests fail on the unchanged code.
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
LIMITS: Final = "layers/isodrop/isodrop/aws/ledger_limits.py"
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
    "tests/integration/test_build_limits.py",
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
    """One change of the code that a test must notice.

    Attributes
    ----------
    name : str
        The wrong behavior.
    file, old, new : str
        The file, the code to replace, which must occur once, and its replacement.
    """

    name: str
    file: str
    old: str
    new: str


MUTANTS: Final = (
    Mutant(
        "the limit of concurrent builds is exceeded by one",
        LIMITS,
        "attribute_not_exists(attempts) OR size(attempts) < :limit",
        "attribute_not_exists(attempts) OR size(attempts) <= :limit",
    ),
    Mutant(
        "the limit of builds in a day is exceeded by one",
        LIMITS,
        "attribute_not_exists(builds) OR builds < :limit",
        "attribute_not_exists(builds) OR builds <= :limit",
    ),
    Mutant(
        "an existing attempt is overwritten",
        TRANSACTIONS,
        '{"Item": item, "ConditionExpression": "attribute_not_exists(pk)"}',
        '{"Item": item, "ConditionExpression": "attribute_not_exists(gone)"}',
    ),
    Mutant(
        "an upload waits for the next day's limit",
        LIMITS,
        "raise RejectedError(\n            Code.DAILY_LIMIT_REACHED,\n",
        "raise QuotaError(\n",
    ),
    Mutant(
        "a refused import still counts as a build",
        LEDGER,
        "status not in {AttemptStatus.REFUSED, AttemptStatus.LOST}:",
        "status not in {AttemptStatus.LOST}:",
    ),
    Mutant(
        "the slot of a build that has ended is not freed",
        RESULTS,
        "return EndedBuilds((record.attempt,), tuple(succeeded), image)",
        "return EndedBuilds((), tuple(succeeded), image)",
    ),
    Mutant(
        "the sweep frees no slots",
        "layers/isodrop/isodrop/services/sweep.py",
        "if not auditor.check_under_way(key, self.now()):",
        "if not key:",
    ),
    Mutant(
        "a deleted image is not marked as retired",
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
        '_digest("token", etag, task_key, stack, attempt)',
        '_digest("token", etag, task_key, stack)',
    ),
    Mutant(
        "the import key contains the description",
        "layers/isodrop/isodrop/domain/ids.py",
        '        "import",\n        content_id,',
        '        "import",\n        plan.description,\n        content_id,',
    ),
    Mutant(
        "another upload of an import starts another build",
        SUBMISSION,
        "        if not self._is_usable(attempt, build_arn, task):",
        "        if attempt.build_arn != build_arn or attempt.number >= 0:",
    ),
    Mutant(
        "a disabled image is reused",
        SUBMISSION,
        "if build is None or build.phase is BuildPhase.FAILED:",
        "if build is None:",
    ),
    Mutant(
        "a failed build is reused",
        SUBMISSION,
        "if build is None or build.phase is BuildPhase.FAILED:\n            return False",
        "if build is None or build.phase is BuildPhase.FAILED:\n"
        "            return build is not None",
    ),
    Mutant(
        "a second build starts while EC2 does not return a new AMI",
        SUBMISSION,
        "if check_just_available(self.ledger, attempt, build, self.now()):",
        "if check_just_available(self.ledger, attempt, build, self.now()) and not build.amis:",
    ),
    Mutant(
        "a second build starts while Image Builder does not return the first",
        SUBMISSION,
        "if build is None and may_have_unseen_build(read_attempt(), now):",
        "if build is None and read_attempt().build_arn is None:",
    ),
    Mutant(
        "an answer does not wait until EC2 returns the AMI",
        OUTCOMES,
        "if self.builder.amis_exist(build):",
        "if build.amis:",
    ),
    Mutant(
        "twice as many failed attempts are allowed",
        SUBMISSION,
        "if failures >= self.max_consecutive_failures:",
        "if failures >= self.max_consecutive_failures * 2:",
    ),
    Mutant(
        "an execution continues without a claim",
        LEDGER,
        "return run if run.execution_arn == execution else None",
        "return run",
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
        'if response["FailedEntryCount"]:',
        'if response["FailedEntryCount"] > 1:',
    ),
    Mutant(
        "a request is rebuilt instead of sent as stored",
        SUBMISSION,
        "return found_arn or task.send(attempt.request)",
        "return found_arn or task.send("
        "task.make_request(attempt.client_token,"
        ' {**attempt.request["tags"], "isodrop:again": "yes"}))',
    ),
    Mutant(
        "a permanent error is retried",
        "layers/isodrop/isodrop/aws/errors.py",
        "    return PermanentError(message, code=code, aws_code=aws_code)",
        "    return TransientError(message, aws_code=aws_code)",
    ),
    Mutant(
        "a server error is not retried",
        "layers/isodrop/isodrop/aws/errors.py",
        "if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:",
        "if status == _TOO_MANY_REQUESTS:",
    ),
    Mutant(
        "an error of the state machine is not answered",
        MACHINE,
        '"Next": "PublishAnswerAfterError"',
        '"Next": "UploadHandled"',
    ),
    Mutant(
        "a function that crashed is not retried",
        MACHINE,
        '"MaxDelaySeconds": 60,\n                  "MaxAttempts": 4,',
        '"MaxDelaySeconds": 60,\n                  "MaxAttempts": 0,',
    ),
    Mutant(
        "a throttled poll ends the tracking",
        MACHINE,
        '"Condition": "{% $pollErrors * ${PollIntervalSeconds} >= 10800 %}"',
        '"Condition": "{% $pollErrors > 0 %}"',
    ),
    Mutant(
        "a request is sent before the attempt is marked as submitted",
        SUBMISSION,
        "AttemptStatus.SUBMITTED if task.ensure_ready(attempt) else AttemptStatus.LOST",
        "AttemptStatus.PREPARED if task.ensure_ready(attempt) else AttemptStatus.LOST",
    ),
    Mutant(
        "a refused request is sent again",
        SUBMISSION,
        "        if status is AttemptStatus.REFUSED:",
        "        if status is None:",
    ),
    Mutant(
        "an outdated status overwrites a newer one",
        LEDGER,
        'Attr("status").eq(attempt.status.value)',
        'Attr("status").exists()',
    ),
    Mutant(
        "a decision is overwritten",
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
        "        if is_new or build is None:\n",
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
        "        if kind is BuildKind.IMPORT:\n            _raise_if_cancelled(result, position=1)",
        "        if kind is BuildKind.DISTRIBUTION:\n"
        "            _raise_if_cancelled(result, position=1)",
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
        "an answer is published without the distribution",
        DISTRIBUTION,
        "        task = self._make_task(run)\n",
        "        task = None\n",
    ),
    Mutant(
        "a distribution has the tags of its import",
        SUBMISSION,
        'f"isodrop:{task.kind}": task.key,',
        'f"isodrop:{BuildKind.IMPORT}": (run.import_build.attempt or (task.key,))[0],',
    ),
    Mutant(
        "a failed distribution is reported as succeeded",
        RESULTS,
        "if distribution_build is None or distribution_build.phase is not BuildPhase.SUCCEEDED:",
        "if distributed is None:",
    ),
    Mutant(
        "a started distribution is dropped when the parameter is removed",
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
        "the import key leaves out the content",
        "layers/isodrop/isodrop/domain/ids.py",
        '        "import",\n        content_id,',
        '        "import",',
    ),
    Mutant(
        "a copy is not pinned to the version",
        STAGING_BUCKET,
        'copy_source["VersionId"] = source.unique_version_id',
        'copy_source.pop("VersionId", None)',
    ),
    Mutant(
        "a copy is not pinned to the ETag",
        STAGING_BUCKET,
        "CopySourceIfMatch=f'\"{source.etag}\"',",
        "",
    ),
    Mutant(
        "a part that exists is copied again",
        STAGING_BUCKET,
        "if part.number in existing and existing[part.number].size == part.length",
        "if part.number in existing and existing[part.number].size > part.length",
    ),
    Mutant(
        "a completed copy whose response was lost is made again",
        STAGING_BUCKET,
        "if code in _CONFLICT or not self.has_copy(key, content):",
        "if True:",
    ),
    Mutant(
        "a failed completion is taken for a success",
        STAGING_BUCKET,
        "if code in _CONFLICT or not self.has_copy(key, content):",
        "if False:",
    ),
    Mutant(
        "a copy with other content is imported",
        STAGING_BUCKET,
        'return head["ContentLength"] == content.size and _checksum(head) == content.checksum',
        'return bool(head["ContentLength"])',
    ),
    Mutant(
        "missing checksums are ignored",
        STAGING_BUCKET,
        "    if not checksum:",
        '    if not checksum and checksum != "":\n        return ""\n    if checksum == "-":',
    ),
    Mutant(
        "a request is sent without checking for its copy",
        STAGING,
        "                self.ensure_copy(run)",
        "                pass",
    ),
    Mutant(
        "another run's request is sent without checking for its copy",
        STAGING,
        "return self.bucket.has_copy(copy_key(owner), owner.content)",
        "return True",
    ),
    Mutant(
        "a copy of an unversioned object is not inspected",
        STAGING,
        "        if run.upload.unique_version_id is None:",
        "        if run.upload.unique_version_id == run.upload_id:",
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
        "copies are kept when their import has ended",
        STAGING,
        "        return build.phase is not BuildPhase.RUNNING",
        "        return False",
    ),
    Mutant(
        "a run that joins another's build keeps its copy",
        STAGING,
        "return has_ended or linked is not None",
        "return False",
    ),
    Mutant(
        "the multipart upload is not written before the first part",
        STAGING,
        "updated = self.ledger.record_multipart_id(run, multipart_id, run.multipart_id)",
        "updated = replace(run, multipart_id=multipart_id)",
    ),
    Mutant(
        "the sweep deletes copies of unknown runs",
        SWEEP,
        "            return False  # an unknown run, or one whose answer has not been published",
        "            return True",
    ),
    Mutant(
        "the sweep answers runs whose execution is running",
        "layers/isodrop/isodrop/aws/step_functions.py",
        "return self.status not in _RUNNING",
        "return True",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.resilience.mutants", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="only mutants whose name contains one of these")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants that run at once"
    )
    arguments = parser.parse_args()
    chosen = [
        each
        for each in MUTANTS
        if not arguments.names or any(word in each.name for word in arguments.names)
    ]
    began = time.monotonic()
    unchanged = run_tests(None)
    print(
        f"{'unchanged code':<62} {unchanged}  ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    if unchanged != "SURVIVED":
        print(
            "The tests fail on the unchanged code, so a failure with a mutant proves nothing.",
            file=sys.stderr,
        )
        return 1
    survived = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        running = [pool.submit(timed, mutant) for mutant in chosen]
        for done in as_completed(running):
            mutant, end, seconds = done.result()
            survived += not end.startswith("killed")
            print(f"{mutant.name:<62} {end}  ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {survived} survived")
    return 1 if survived else 0


def timed(mutant: Mutant) -> tuple[Mutant, str, float]:
    """Run the tests against a mutant, and take the time."""
    began = time.monotonic()
    return mutant, run_tests(mutant), time.monotonic() - began


def run_tests(mutant: Mutant | None) -> str:
    """Run the tests against a mutant, or the unchanged code; describe which test failed."""
    with tempfile.TemporaryDirectory(prefix="isodrop-mutant-") as folder:
        for part in PARTS:
            source, copy = ROOT / part, Path(folder, part)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
        if mutant:
            file = Path(folder, mutant.file)
            code = file.read_text()
            if code.count(mutant.old) != 1:
                return (
                    f"NOT APPLIED: {mutant.file} contains the code {code.count(mutant.old)} times"
                )
            file.write_text(code.replace(mutant.old, mutant.new))
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
