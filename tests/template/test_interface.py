"""Protects what others hold on to: parameters, outputs, and the environment that the functions' code reads."""

from __future__ import annotations

import pytest

from tests.template.stack import FUNCTIONS, of_type, properties, read_template, translate_template, words

ENVIRONMENT = {
    "Scheduler": {
        "EVERGRANT_RECORDS_TABLE": "RecordsTable",
        "EVERGRANT_AUTHORIZATIONS_TABLE": "AuthorizationsTable",
        "EVERGRANT_QUEUE_URL": "RotationQueue",
    },
    "Rotator": {
        "EVERGRANT_PREFIX": "SecretPrefix",
        "EVERGRANT_RECORDS_TABLE": "RecordsTable",
        "EVERGRANT_AUTHORIZATIONS_TABLE": "AuthorizationsTable",
        "EVERGRANT_QUEUE_URL": "RotationQueue",
        "EVERGRANT_SEAL_KEY_ARN": "SealKey.Arn",
        "EVERGRANT_VAULT_KEY_ARN": "VaultKey.Arn",
        "EVERGRANT_EVENT_BUS": "EventBus",
        "EVERGRANT_ROTATOR_CONCURRENCY": "RotatorConcurrency",
        "EVERGRANT_LEASE_SECONDS": "LeaseSeconds",
        "EVERGRANT_DIRECT_READ_MIN_LIFETIME": "DirectReadMinLifetime",
        "EVERGRANT_CONSUMER_CACHE_SECONDS": "ConsumerCacheSeconds",
        "EVERGRANT_ALLOW_LOOPBACK": "AllowLoopback",
    },
    "Callback": {
        "EVERGRANT_PREFIX": "SecretPrefix",
        "EVERGRANT_RECORDS_TABLE": "RecordsTable",
        "EVERGRANT_AUTHORIZATIONS_TABLE": "AuthorizationsTable",
        "EVERGRANT_QUEUE_URL": "RotationQueue",
        "EVERGRANT_SEAL_KEY_ARN": "SealKey.Arn",
        "EVERGRANT_LEASE_SECONDS": "LeaseSeconds",
        "EVERGRANT_DIRECT_READ_MIN_LIFETIME": "DirectReadMinLifetime",
        "EVERGRANT_CONSUMER_CACHE_SECONDS": "ConsumerCacheSeconds",
        "EVERGRANT_ALLOW_LOOPBACK": "AllowLoopback",
        "EVERGRANT_SUPPORT_CONTACT": "SupportContact",
    },
    "Getter": {"EVERGRANT_PREFIX": "SecretPrefix", "EVERGRANT_ROTATOR_FUNCTION": "RotatorFunction"},
}
POWERTOOLS = {"POWERTOOLS_METRICS_NAMESPACE": "Evergrant/${AWS::StackName}", "POWERTOOLS_LOG_LEVEL": "LogLevel"}

#: Properties that end in "Name" and need not be unique in an account and Region.
NOT_UNIQUE = {"DisplayName", "MetricName", "PolicyName", "StageName"}

OUTPUTS = {
    "AlertDeadLetterQueueUrl",
    "AlertTopicArn",
    "ApiId",
    "ApiUrl",
    "AuthorizationsTableName",
    "CallbackFunctionArn",
    "CallbackUrl",
    "ClientLayerArn",
    "ConsumerPolicyArn",
    "DoctorPolicyArn",
    "DomainTarget",
    "EventBusName",
    "GetterFunctionArn",
    "OperatorPolicyArn",
    "RecordsTableName",
    "RedirectUri",
    "RotationDeadLetterQueueUrl",
    "RotationQueueUrl",
    "RotatorFunctionArn",
    "SchedulerDeadLetterQueueUrl",
    "SchedulerFunctionArn",
    "SealKeyArn",
    "SecretPrefix",
    "VaultKeyArn",
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_finds_everything_in_its_environment_and_nothing_more(function: str) -> None:
    variables = properties(f"{function}Function")["Environment"]["Variables"]
    assert {name: words(value) for name, value in variables.items()} == {
        **ENVIRONMENT[function],
        **POWERTOOLS,
        "POWERTOOLS_SERVICE_NAME": function.lower(),
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_layer_and_a_log_group_that_forgets(function: str) -> None:
    found = properties(f"{function}Function")
    assert found["Handler"] == "app.handler"
    (layer,) = found["Layers"]
    assert words(layer).startswith("EvergrantLayer")
    assert words(found["LoggingConfig"]["LogGroup"]) == f"{function}Logs"
    assert found["LoggingConfig"]["LogFormat"] == "JSON"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lambdas_own_log_level_is_info_in_every_deployment(function: str) -> None:
    """``LogLevel`` reaches Powertools only; Lambda's ``ApplicationLogLevel`` is INFO.

    Above INFO Lambda drops metrics in the embedded metric format, which have no ``level`` and count as INFO. Below it
    the runtime sets the root logger to DEBUG (Lambda guide, "Log-level filtering").
    """
    found = properties(f"{function}Function")
    assert found["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
    assert found["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == {"Ref": "LogLevel"}


def test_all_functions_share_one_runtime_and_architecture() -> None:
    """All functions have one runtime and one architecture, which parameters choose."""
    for function in of_type("AWS::Lambda::Function").values():
        assert words(function["Properties"]["Runtime"]) == "Runtime"
        assert function["Properties"]["Architectures"] == [{"Ref": "Architecture"}]


@pytest.mark.parametrize("group", of_type("AWS::Logs::LogGroup"))
def test_a_log_group_forgets_after_the_days_asked_for(group: str) -> None:
    assert words(properties(group)["RetentionInDays"]) == "LogRetentionDays"


def test_the_outputs_are_these_and_each_says_what_it_is_for() -> None:
    assert set(read_template()["Outputs"]) == OUTPUTS
    assert all(output["Description"] for output in read_template()["Outputs"].values())


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_an_output_is_exported_under_the_names_of_stack_and_output(name: str) -> None:
    """Another stack imports it; two Evergrant stacks in one account and Region export different names."""
    assert read_template()["Outputs"][name]["Export"] == {"Name": {"Fn::Sub": f"${{AWS::StackName}}-{name}"}}


@pytest.mark.parametrize("layer", of_type("AWS::Lambda::LayerVersion"))
def test_a_layer_names_its_licence(layer: str) -> None:
    assert properties(layer)["LicenseInfo"] == "Apache-2.0"


@pytest.mark.parametrize("name", read_template()["Parameters"])
def test_a_parameter_is_described_constrained_and_has_a_default(name: str) -> None:
    parameter = read_template()["Parameters"][name]
    assert "Default" in parameter, "a first deployment asks for nothing"
    assert len(parameter["Description"]) > 20
    assert {"AllowedValues", "AllowedPattern", "MinValue"} & parameter.keys()


def test_every_parameter_is_shown_in_a_group() -> None:
    groups = read_template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(read_template()["Parameters"])


def test_the_loopback_switch_is_off_unless_the_local_run_turns_it_on() -> None:
    assert read_template()["Parameters"]["AllowLoopback"]["Default"] == "false"


def test_a_lease_outlasts_an_attempt_and_not_the_function() -> None:
    lease, attempt, save = read_template()["Parameters"]["LeaseSeconds"], 20, 5
    assert lease["MinValue"] > attempt + save
    assert lease["MaxValue"] < properties("RotatorFunction")["Timeout"]


def test_no_resource_has_the_same_name_in_every_stack() -> None:
    """A second stack can be created in one account and Region: no physical name is without the stack's.

    A domain and its DNS record have the operator's name, from a parameter. A ``ScheduleV2`` event without ``OmitName``
    is given one, its logical id.
    """
    constant = {
        f"{resource}.{key}"
        for resource, definition in translate_template().items()
        for key, value in definition["Properties"].items()
        if key.endswith("Name") and key not in NOT_UNIQUE and "AWS::StackName" not in words(value)
        if not (isinstance(value, dict) and value.get("Ref") in {*translate_template(), "DomainName"})
    }
    assert not constant


def test_the_schedules_name_is_left_to_cloudformation() -> None:
    (schedule,) = of_type("AWS::Scheduler::Schedule").values()
    assert "Name" not in schedule["Properties"]


def test_one_stack_holds_everything_that_it_names() -> None:
    kinds = {resource["Type"] for resource in translate_template().values()}
    assert not any("SecretsManager" in kind for kind in kinds), "secrets belong to operators and rotator"
