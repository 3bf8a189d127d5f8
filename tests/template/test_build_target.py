"""Protects the choice of what to build for: SAM does not say, and a wrong guess fails only in production."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import build_artifact
from scripts.build_artifact import Target, find_override, find_target, read_configured_overrides


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project with the template's defaults, no configuration, and no `sam` above."""
    for variable in ("BUILD_RUNTIME", "BUILD_ARCHITECTURE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "template.yaml").write_text((build_artifact.ROOT / "template.yaml").read_text())
    monkeypatch.setattr(build_artifact, "ROOT", tmp_path)
    monkeypatch.setattr(build_artifact, "list_parents", lambda: iter(()))
    return tmp_path


def test_the_templates_defaults_hold_where_nothing_is_set() -> None:
    assert find_target() == Target("python3.13", "arm64")


@pytest.mark.parametrize(
    "overrides",
    [
        '"Runtime=python3.12 Architecture=x86_64"',
        '"Runtime=\\"python3.12\\" Architecture=\\"x86_64\\" AlertEmail=\\"a@example.com\\""',
        '["Runtime=python3.12", "Architecture=x86_64"]',
        '"ParameterKey=Runtime,ParameterValue=python3.12 ParameterKey=Architecture,ParameterValue=x86_64"',
        '{ Runtime = "python3.12", Architecture = "x86_64" }',
    ],
)
def test_what_a_guided_deploy_wrote_into_samconfig_is_built(nothing_set: Path, overrides: str) -> None:
    (nothing_set / "samconfig.toml").write_text(f"[default.deploy.parameters]\nparameter_overrides = {overrides}\n")
    assert find_target() == Target("python3.12", "x86_64")


def test_sams_own_flags_outweigh_samconfig(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = '[default.deploy.parameters]\nparameter_overrides = "Runtime=python3.12"\n'
    (nothing_set / "samconfig.toml").write_text(config)
    above = [
        "/bin/sh",
        "make",
        "/usr/bin/python3 /usr/local/bin/sam build --parameter-overrides Runtime=python3.14",
        "bash",
    ]
    monkeypatch.setattr(build_artifact, "list_parents", lambda: iter(above))
    assert find_target() == Target("python3.14", "arm64")


def test_the_environment_outweighs_everything(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = '[default.global.parameters]\nparameter_overrides = "Runtime=python3.12 Architecture=arm64"\n'
    (nothing_set / "samconfig.toml").write_text(config)
    monkeypatch.setenv("BUILD_RUNTIME", "python3.11")
    monkeypatch.setenv("BUILD_ARCHITECTURE", "x86_64")
    assert find_target() == Target("python3.11", "x86_64")


def test_sams_config_env_selects_another_environment_of_samconfig(nothing_set: Path) -> None:
    config = '[staging.build.parameters]\nparameter_overrides = "Architecture=x86_64"\n'
    (nothing_set / "samconfig.toml").write_text(config)
    assert find_override("Architecture", read_configured_overrides("sam build --config-env staging")) == "x86_64"
    assert find_override("Architecture", read_configured_overrides("sam build")) is None


def test_a_parameter_whose_name_ends_alike_is_not_mistaken() -> None:
    assert find_override("Runtime", "NodeRuntime=python3.9") is None


@pytest.mark.parametrize(("variable", "value"), [("BUILD_RUNTIME", "nodejs22.x"), ("BUILD_ARCHITECTURE", "riscv64")])
def test_a_target_that_lambda_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match="Cannot build"):
        find_target()
