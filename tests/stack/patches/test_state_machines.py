"""State machines on the emulator behave as on Step Functions, where it matters to isodrop."""

import json
import time
from typing import Any

import pytest

from isodrop_local.stack import EmulatedStack
from tests.support.emulator_calls import INVOKE, make_function, make_machine, over, run, task


class TestMachines:
    def test_a_parallel_has_arguments_output_and_assign(self, emulator: EmulatedStack) -> None:
        states = {
            "Both": {
                "Type": "Parallel",
                "Arguments": "{% {'number': $states.input.number + 1} %}",
                "Branches": [
                    {
                        "StartAt": "Pass",
                        "States": {
                            "Pass": {
                                "Type": "Pass",
                                "Assign": {"inner": 1},
                                "Output": "{% $states.input.number %}",
                                "End": True,
                            }
                        },
                    }
                ],
                "Assign": {"seen": "{% $states.result[0] %}"},
                "Output": "{% $states.result[0] * 10 %}",
                "Next": "After",
            },
            "After": {
                "Type": "Pass",
                "Output": "{% [$states.input, $seen, $exists($inner)] %}",
                "End": True,
            },
        }
        assert run(emulator, states, "Both", {"number": 1}) == [20, 2, False]

    def test_a_parallel_catches_the_error_of_its_branch(self, emulator: EmulatedStack) -> None:
        function = make_function(emulator, "raise KeyError('x')")
        states = {
            "All": {
                "Type": "Parallel",
                "Branches": [{"StartAt": "Do", "States": {"Do": task(function)}}],
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Output": "{% [$states.input, $states.errorOutput.Error] %}",
                        "Next": "End",
                    }
                ],
                "End": True,
            },
            "End": {"Type": "Succeed"},
        }
        assert run(emulator, states, "All", "given") == ["given", "KeyError"]

    def test_null_is_a_value_and_undefined_is_an_error(self, emulator: EmulatedStack) -> None:
        null = {
            "Type": "Pass",
            "Assign": {"kept": "{% $states.input.here %}"},
            "Output": "{% $states.input.here %}",
            "Next": "Merge",
        }
        merge = {"Type": "Pass", "Output": "{% $merge([{'a': 1}, {'b': $kept}]) %}", "End": True}
        states = {"Null": null, "Merge": merge}
        assert run(emulator, states, "Null", {"here": None}) == {"a": 1, "b": None}
        assert run(emulator, states, "Null", {}) == "States.QueryEvaluationError"

    def test_a_repeated_start_returns_the_same_execution(self, emulator: EmulatedStack) -> None:
        client = emulator.client("stepfunctions")
        wait = {"Type": "Wait", "Seconds": 100, "End": True}
        request = {
            "stateMachineArn": make_machine(emulator, {"Wait": wait}, "Wait"),
            "name": "once",
            "input": "{}",
        }
        first, second = client.start_execution(**request), client.start_execution(**request)
        assert first["executionArn"] == second["executionArn"]
        assert first["startDate"] == second["startDate"]
        with pytest.raises(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(**{**request, "input": '{"other": 1}'})
        emulator.wait_for(lambda: over(emulator, first["executionArn"]))
        with pytest.raises(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(**request)

    def test_a_stopped_execution_proceeds_no_further(self, emulator: EmulatedStack) -> None:
        client = emulator.client("stepfunctions")
        function = make_function(emulator, "raise ValueError()")
        retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 20, "MaxAttempts": 50}]
        states = {
            "All": {
                "Type": "Parallel",
                "Branches": [{"StartAt": "Do", "States": {"Do": task(function, Retry=retry)}}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Do"}],
                "End": True,
            },
            "Do": task(function, Retry=retry),
        }
        machine = make_machine(emulator, states, "All")
        execution = client.start_execution(stateMachineArn=machine)["executionArn"]

        def events() -> list[Any]:
            return list(client.get_execution_history(executionArn=execution)["events"])

        emulator.wait_for(lambda: [each for each in events() if each["type"] == "TaskFailed"])
        client.stop_execution(executionArn=execution, error="Enough")
        time.sleep(0.8)
        assert client.describe_execution(executionArn=execution)["status"] == "ABORTED"
        received = len(events())
        time.sleep(0.5)
        assert len(events()) == received

    def test_an_sdk_call_to_image_builder_speaks_pascal_case(self, emulator: EmulatedStack) -> None:
        client = emulator.client("imagebuilder")
        arn = client.create_infrastructure_configuration(
            name="any", instanceProfileName="profile", tags={"camelCase": "kept"}, clientToken="t"
        )["infrastructureConfigurationArn"]
        look = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:imagebuilder:getInfrastructureConfiguration",
            "Arguments": {"InfrastructureConfigurationArn": arn},
            "Output": "{% $states.result.InfrastructureConfiguration %}",
            "End": True,
        }
        found = run(emulator, {"Look": look}, "Look")
        assert (found["Arn"], found["InstanceProfileName"]) == (arn, "profile")
        assert found["Tags"] == {"camelCase": "kept"}

    def test_errors_of_an_sdk_call_have_the_services_name(self, emulator: EmulatedStack) -> None:
        arn = "arn:aws:imagebuilder:us-east-1:123456789012:image/nothing/1.0.0/1"
        look = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:imagebuilder:getImage",
            "Arguments": {"ImageBuildVersionArn": arn},
            "End": True,
        }
        error = "Imagebuilder.ResourceNotFoundException"
        assert run(emulator, {"Look": look}, "Look") == error
        emulator.control("imagebuilder/fail_next", {"operation": "GetImage", "code": "lost"})
        assert run(emulator, {"Look": look}, "Look") == "Imagebuilder.SdkClientException"

    def test_the_history_contains_the_input_of_a_task(self, emulator: EmulatedStack) -> None:
        states = emulator.client("stepfunctions")
        look = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sqs:listQueues",
            "Arguments": {"QueueNamePrefix": "{% $states.input & '-x' %}"},
            "End": True,
        }
        machine = make_machine(emulator, {"Look": look}, "Look")
        execution = states.start_execution(stateMachineArn=machine, input='"a"')["executionArn"]
        emulator.wait_for(lambda: over(emulator, execution))
        history = states.get_execution_history(executionArn=execution)["events"]
        (scheduled,) = [
            e["taskScheduledEventDetails"] for e in history if e["type"] == "TaskScheduled"
        ]
        assert json.loads(scheduled["parameters"]) == {"QueueNamePrefix": "a-x"}
        assert (scheduled["resourceType"], scheduled["resource"]) == ("aws-sdk:sqs", "listQueues")

    def test_a_member_has_its_name_on_the_wire(self, emulator: EmulatedStack) -> None:
        ec2 = emulator.client("ec2")
        data = {"InstanceType": "m7i.large"}
        made = ec2.create_launch_template(LaunchTemplateName="desks", LaunchTemplateData=data)
        template = made["LaunchTemplate"]["LaunchTemplateId"]
        ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData=data)
        switch = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:ec2:modifyLaunchTemplate",
            "Arguments": {"LaunchTemplateId": template, "DefaultVersion": "2"},
            "End": True,
        }
        run(emulator, {"Switch": switch}, "Switch")
        (found,) = ec2.describe_launch_templates(LaunchTemplateIds=[template])["LaunchTemplates"]
        assert found["DefaultVersionNumber"] == 2

    def test_a_throttled_invocation_has_its_own_error_name(self, emulator: EmulatedStack) -> None:
        function = make_function(emulator, "return event")
        emulator.client("lambda").put_function_concurrency(
            FunctionName=function, ReservedConcurrentExecutions=0
        )
        request = {
            "Type": "Task",
            "Resource": INVOKE,
            "Arguments": {"FunctionName": function, "Payload": {}},
            "End": True,
        }
        assert run(emulator, {"Ask": request}, "Ask") == "Lambda.TooManyRequestsException"
