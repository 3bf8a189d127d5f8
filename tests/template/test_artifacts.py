"""Protects what is uploaded: built on any machine, it must fit its Lambda, be complete, and be reproducible."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.artifacts import Imports, Tag, build, digest, machine, tags
from tests.template.stack import ROOT

TARGETS = [("python3.13", "arm64"), ("python3.13", "x86_64"), ("python3.11", "arm64")]
FUNCTIONS = ("scheduler", "rotator", "callback", "getter")
LAYERS = ("evergrant", "evergrant_client")

#: AWS Lambda developer guide, "Lambda runtimes": python3.11 runs on Amazon Linux 2, later ones on Amazon Linux 2023.
GLIBC = {"python3.11": (2, 26), "python3.13": (2, 34)}
#: Imports every module of both layers; prints them, and the libraries that are not there.
IMPORT_ALL = """
import importlib, json, pkgutil
modules, absent = ["evergrant", "evergrant_client"], set()
for package in tuple(modules):
    path = importlib.import_module(package).__path__
    modules += [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
for module in modules:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent.add(error.name.partition(".")[0])
print(json.dumps([modules, sorted(absent)]))
"""


@pytest.fixture(scope="module", params=TARGETS, ids="-".join)
def target(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture(scope="module")
def layer(target: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("layer", "evergrant", tmp_path_factory.mktemp("layer"), *target)


@pytest.fixture(scope="module")
def client_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("layer", "evergrant_client", tmp_path_factory.mktemp("client"), "python3.13", "arm64")


def test_every_wheel_in_the_layer_is_made_for_its_lambda(layer: Path, target: tuple[str, str]) -> None:
    runtime, architecture = target
    wheels = list(layer.glob("python/*.dist-info/WHEEL"))
    assert len(wheels) > 5
    for wheel in wheels:
        fitting = [tag.fits(int(runtime.partition(".")[2]), architecture, GLIBC[runtime]) for tag in tags(wheel)]
        assert any(fitting), f"{wheel.parent.name} does not fit {target}"


def test_every_library_in_the_layer_is_for_its_processor(layer: Path, target: tuple[str, str]) -> None:
    libraries = list(layer.rglob("*.so"))
    assert libraries
    assert {machine(library) for library in libraries} == {target[1]}


@pytest.mark.parametrize("target", TARGETS[:1], ids="-".join, indirect=True)
def test_everything_that_is_imported_is_in_the_layer_or_the_runtime(layer: Path) -> None:
    site = layer / "python"
    imports = Imports(site, ours={"evergrant", "app"})
    for function in FUNCTIONS:
        imports.follow(ROOT / "functions" / function / "app.py", "app")
    for source in (site / "evergrant").rglob("*.py"):
        imports.follow(source, ".".join(source.relative_to(site).with_suffix("").parts).removesuffix(".__init__"))
    assert imports.missing <= {"evergrant.content_coding needs compression.zstd"}, "which Python 3.14 has"


def test_the_client_layer_needs_nothing_but_the_runtime(client_layer: Path) -> None:
    site = client_layer / "python"
    assert [path.name for path in site.iterdir()] == ["evergrant_client"]
    assert not list(site.rglob("*.so"))
    imports = Imports(site, ours={"evergrant_client"})
    for source in (site / "evergrant_client").glob("*.py"):
        if source.stem not in {
            "_auth_flow",
            "httpx",
            "httpx2",
            "requests",
            "powertools",
        }:  # for consumers who have these libraries
            imports.follow(source, f"evergrant_client.{source.stem}".removesuffix(".__init__"))
    assert not imports.missing


@pytest.mark.parametrize("target", TARGETS[:1], ids="-".join, indirect=True)
def test_each_layer_holds_the_licence_beside_its_code(layer: Path, client_layer: Path) -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    assert (layer / "python" / "evergrant" / "LICENSE").read_bytes() == licence
    assert (client_layer / "python" / "evergrant_client" / "LICENSE").read_bytes() == licence


@pytest.mark.parametrize("target", TARGETS[:1], ids="-".join, indirect=True)
def test_two_builds_are_the_same_to_the_byte(layer: Path, target: tuple[str, str], tmp_path: Path) -> None:
    assert digest(build("layer", "evergrant", tmp_path, *target)) == digest(layer)


def test_a_layer_leaves_room_for_its_function(layer: Path) -> None:
    size = sum(path.stat().st_size for path in layer.rglob("*") if path.is_file())
    assert size < 60 * 2**20, "Lambda takes 250 MB unpacked; cold starts take less"


def test_byte_code_is_present_and_unchecked_if_this_machine_has_python(tmp_path: Path) -> None:
    """Byte code is there, and loaded without a check of its source, where this machine has that Python."""
    found = subprocess.run([ROOT / "scripts" / "find-python", "3.13"], capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip("no Python 3.13 on this machine")
    build("function", "getter", tmp_path, "python3.13", "arm64")
    code = (tmp_path / "__pycache__" / "app.cpython-313.pyc").read_bytes()
    assert int.from_bytes(code[4:8], "little") == 0b01, "PEP 552: hash-based, not checked against the source"
    assert b"/var/task/app.py" in code
    assert str(tmp_path).encode() not in code


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_no_import_reads_a_source_when_its_byte_code_is_there(version: str, tmp_path: Path) -> None:
    """Nor compares their times, which a zip may change: a source that is no Python any more is not missed."""
    found = subprocess.run([ROOT / "scripts" / "find-python", version], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no Python {version} on this machine")
    layers = [build("layer", name, tmp_path / name, f"python{version}", "host") for name in LAYERS]
    for source in tmp_path.rglob("*.py"):
        if source.match("anyio/__init__.py"):  # parses itself, for the names that it imports late
            continue
        source.write_text("this is no Python")

    done = subprocess.run(
        [found.stdout.strip(), "-S", "-c", IMPORT_ALL],
        env={"PYTHONPATH": ":".join(str(layer / "python") for layer in layers)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules, absent = json.loads(done.stdout)
    assert {"evergrant.rotation.refresh_steps", "evergrant.adapters.http", "evergrant_client._api"} <= set(modules)
    assert set(absent) <= {"boto3", "botocore", "httpx2", "requests"}, "of the runtime, or of a consumer"


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        (Tag("py3", "none", "any"), True),
        (Tag("cp313", "cp313", "manylinux_2_28_aarch64"), True),
        (Tag("cp311", "abi3", "manylinux_2_34_aarch64"), True),
        (Tag("cp312", "cp312", "manylinux_2_28_aarch64"), False),
        (Tag("cp313", "cp313", "manylinux_2_28_x86_64"), False),
        (Tag("cp313", "cp313", "manylinux_2_39_aarch64"), False),
        (Tag("cp313", "cp313", "musllinux_1_2_aarch64"), False),
        (Tag("cp314", "abi3", "manylinux2014_aarch64"), False),
    ],
    ids=str,
)
def test_a_wheel_tag_fits_or_is_refused(tag: Tag, fits: bool) -> None:
    assert tag.fits(13, "arm64", (2, 34)) is fits


def test_a_layer_on_another_lambda_says_so_before_anything_else(layer: Path, target: tuple[str, str]) -> None:
    """Its libraries would fail with errors that name neither runtime nor architecture."""
    tried = subprocess.run(
        [sys.executable, "-c", "import evergrant.rotation.handler"],
        env={"PYTHONPATH": str(layer / "python"), "PATH": "/usr/bin:/bin"},
        cwd=layer,
        capture_output=True,
        text=True,
        check=False,
    )
    here = f"python{sys.version_info[0]}.{sys.version_info[1]}", platform.machine().replace("aarch64", "arm64")
    said = tried.stderr.strip().splitlines()[-1] if tried.stderr else ""
    assert (f"This was built for {' on '.join(target)}" in said) is (here != target)
