"""How IAM simulates policies: patches of the emulator's simulation."""

import json
import re
from functools import cache
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

_simulate_principal_policy = iam._simulate_principal_policy
_EvalContext = iam_evaluator.EvalContext
_KEY = re.compile(r"ContextEntries\.member\.(\d+)\.ContextKeyName")


def simulate_principal_policy(request: dict[str, Any]) -> Any:
    """Pass the given context keys to a simulation.

    A condition on a key is evaluated with the given value; the emulator ignores the
    entries, so that no statement with such a condition ever allows anything.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    add_managed_policies()
    context_values = {}
    for name in request:
        if found := _KEY.fullmatch(name):
            value = f"ContextEntries.member.{found[1]}.ContextKeyValues.member.1"
            context_values[iam._p(request, name).lower()] = iam._p(request, value)

    def evaluate_with_entries(**known: Any) -> Any:
        return _EvalContext(**known, service_context=context_values)

    # No lock: the emulator handles requests in one thread.
    iam_evaluator.EvalContext = evaluate_with_entries
    try:
        return _simulate_principal_policy(request)
    finally:
        iam_evaluator.EvalContext = _EvalContext


@cache
def add_managed_policies() -> None:
    """Add AWS's managed policies: the emulator has only a few of them.

    Only at the first simulation: there are a thousand.
    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
    """
    from moto.iam.aws_managed_policies import aws_managed_policies_data  # noqa: PLC0415

    for name, policy in json.loads(aws_managed_policies_data).items():
        path = policy["Path"].strip("/")
        full = f"{path}/{name}" if path else name
        record = iam._make_aws_managed_record(full, json.dumps(policy["Document"]))
        iam._aws_managed_policies.setdefault(f"{iam._AWS_MANAGED_POLICY_PREFIX}{full}", record)


def apply() -> None:
    """Apply the patches."""
    for handler in list(iam.__dict__.values()):
        if isinstance(handler, dict) and handler.get("SimulatePrincipalPolicy"):
            handler["SimulatePrincipalPolicy"] = simulate_principal_policy
            return
    raise RuntimeError("the emulator's IAM has no table of actions")
