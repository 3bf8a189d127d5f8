"""Protects the way back after a deletion: what outlives a stack can be imported into the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.take_up import IDENTIFIERS, build_import, find_kept, main
from tests.template.stack import read_template

EXISTING = {
    "RecordsTable": "evergrant-RecordsTable-1",
    "AuthorizationsTable": "evergrant-AuthorizationsTable-1",
    "VaultKey": "11111111-1111-1111-1111-111111111111",
    "SealKey": "22222222-2222-2222-2222-222222222222",
    "RotationDeadLetterQueue": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
}


def test_all_that_outlives_the_stack_can_be_imported() -> None:
    kept = find_kept(read_template())
    assert set(kept) == set(EXISTING)
    assert set(kept.values()) <= set(IDENTIFIERS)


def test_the_import_has_nothing_that_it_does_not_import() -> None:
    """CloudFormation refuses other resources, outputs, and a resource without a deletion policy."""
    document, imports = build_import(read_template(), EXISTING)
    assert set(document) == {"AWSTemplateFormatVersion", "Resources"}
    assert {each["LogicalResourceId"] for each in imports} == set(document["Resources"])
    for name, resource in document["Resources"].items():
        assert resource["DeletionPolicy"] == "Retain"
        assert not {"Ref", "Fn::GetAtt", "Fn::Sub"} & set(json.dumps(resource).split('"')), name


def test_the_deployment_that_follows_sets_what_a_restore_leaves_out() -> None:
    """A restored table has no recovery and no expiry, and an update sets only what the import's template lacks."""
    document, _ = build_import(read_template(), EXISTING)
    for name in ("RecordsTable", "AuthorizationsTable"):
        written, imported = (t["Resources"][name]["Properties"] for t in (read_template(), document))
        assert {field: written[field] for field in imported} == imported
        assert set(written) - set(imported) <= {"PointInTimeRecoverySpecification", "TimeToLiveSpecification"}
        assert "PointInTimeRecoverySpecification" not in imported


def test_both_files_are_written_and_a_key_is_not_optional(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--template={tmp_path / 'template.json'}", f"--resources={tmp_path / 'resources.json'}"]
    given = [f"--{name}={value}" for name, value in EXISTING.items() if name != "RotationDeadLetterQueue"]
    assert main([*files, *given]) == 0
    assert len(json.loads((tmp_path / "resources.json").read_text())) == 4
    assert "RecordsTable" in json.loads((tmp_path / "template.json").read_text())["Resources"]
    with pytest.raises(SystemExit):
        main([*files, *(argument for argument in given if "SealKey" not in argument)])
    assert "--SealKey" in capsys.readouterr().err
