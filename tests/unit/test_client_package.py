"""Protects the package's outer shape: what it exports, that it is typed, and that importing it costs next to
nothing and needs nothing that a bare Lambda runtime does not have."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import evergrant_client
from evergrant_client import Evergrant, _default
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws

PACKAGE = Path(evergrant_client.__file__).parent

EXPORTED = {
    "AccessDenied",
    "AccessToken",
    "AuthorizationRequired",
    "ClientRefused",
    "ConnectionUnusable",
    "Disconnected",
    "Evergrant",
    "EvergrantError",
    "InvalidRequest",
    "MissingHeaders",
    "NotConfigured",
    "Paused",
    "TemporarilyUnavailable",
    "UnexpectedAnswer",
    "UnknownConnection",
    "access_token",
    "headers",
    "token",
}


def in_a_fresh_interpreter(program: str, *flags: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, *flags, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_exported_names_are_these_and_no_others() -> None:
    assert set(evergrant_client.__all__) == EXPORTED
    assert list(evergrant_client.__all__) == sorted(evergrant_client.__all__)
    in_a_fresh_interpreter(
        "import evergrant_client as e, types\n"
        "public = {n for n, v in vars(e).items() if not n.startswith('_') and not isinstance(v, types.ModuleType)}\n"
        "assert public - {'annotations'} == set(e.__all__), public"
    )


def test_exported_objects_name_the_public_module() -> None:
    assert {getattr(evergrant_client, name).__module__ for name in EXPORTED} == {"evergrant_client"}


def test_every_public_object_has_a_docstring() -> None:
    assert all(getattr(evergrant_client, name).__doc__ for name in EXPORTED)


def test_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_import_needs_the_standard_library_only() -> None:
    loaded = in_a_fresh_interpreter(
        "import sys, evergrant_client\n"
        "print(*sorted({n.partition('.')[0] for n in sys.modules} - sys.stdlib_module_names - {'__main__'}))",
        "-S",  # no site-packages: not even botocore, which is imported at the first fetch
    )
    assert loaded == "evergrant_client"


@pytest.mark.parametrize(
    ("module", "library"),
    [("httpx", "httpx"), ("httpx2", "httpx2"), ("requests", "requests"), ("powertools", "aws_lambda_powertools")],
)
def test_each_further_module_imports_its_own_library_and_exports_one_class(module: str, library: str) -> None:
    program = (
        f"import sys, evergrant_client.{module} as module\n"
        "print(*sorted({'httpx', 'httpx2', 'requests', 'aws_lambda_powertools'} & set(sys.modules)), module.__all__)"
    )
    exported = "TokenProvider" if module == "powertools" else "EvergrantAuth"
    assert in_a_fresh_interpreter(program) == f"{library} ['{exported}']"


def test_import_takes_modules_of_the_package_and_little_else() -> None:
    # Each of these takes longer to import than this package does.
    heavy = ("botocore", "urllib3", "email", "http", "ssl", "asyncio", "urllib.parse")
    program = f"import sys, evergrant_client\nprint(*[name for name in {heavy!r} if name in sys.modules])"
    before = in_a_fresh_interpreter(program.replace(", evergrant_client", ""), "-S").split()
    assert set(in_a_fresh_interpreter(program, "-S").split()) <= set(before)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that `pip install ./layers/evergrant_client` makes."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, cwd=PACKAGE.parent, check=True, capture_output=True, timeout=60)
    (made,) = target.glob("*.whl")
    return zipfile.ZipFile(made)


def test_wheel_holds_the_package_and_says_what_it_needs(wheel: zipfile.ZipFile) -> None:
    files = {name for name in wheel.namelist() if not name.startswith("evergrant_client-")}
    assert files == {f"evergrant_client/{file.name}" for file in PACKAGE.iterdir() if file.is_file()}
    assert "evergrant_client/py.typed" in files
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    needed = {line.partition(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert needed == {"botocore"}
    assert metadata.get_all("Provides-Extra") == ["httpx", "httpx2", "powertools", "requests"]


def test_package_of_the_wheel_works_by_itself(wheel: zipfile.ZipFile) -> None:
    program = (
        f"import sys; sys.path.insert(0, {wheel.filename!r})\n"
        "import evergrant_client\n"
        "from evergrant_client import httpx, httpx2, powertools, requests\n"
        "print(evergrant_client.__file__)"
    )
    assert in_a_fresh_interpreter(program).startswith(str(wheel.filename))


def test_readme_draws_the_tree_of_errors_and_names_every_setting() -> None:
    text = (PACKAGE.parent / "README.md").read_text("utf-8")
    for name in EXPORTED:
        exported = getattr(evergrant_client, name)
        if isinstance(exported, type) and issubclass(exported, evergrant_client.EvergrantError):
            assert name in text
            assert exported.code in text or exported.code == "evergrant_error"  # the two bases have none of their own
    sources = "".join(file.read_text("utf-8") for file in PACKAGE.glob("*.py"))
    settings = set(re.findall(r"EVERGRANT_[A-Z_]+", sources)) - {"EVERGRANT_ALLOW_LOOPBACK"}  # the local run's own
    assert settings == set(re.findall(r"EVERGRANT_[A-Z_]+", text))


def test_module_level_functions_share_one_object_made_from_the_environment() -> None:
    program = (
        "import os, evergrant_client as e\n"
        "from evergrant_client import _default\n"
        "assert _default._default is None\n"
        "os.environ.update(EVERGRANT_PREFIX='team')\n"
        "one = _default.default()\n"
        "assert one is _default.default() and one._prefix == 'team'\n"
        "one._fetcher.fetch = lambda connection, min_ttl: print(connection, min_ttl)\n"
        "try: e.token('keap/main', min_ttl=7)\n"
        "except AttributeError: pass"
    )
    assert in_a_fresh_interpreter(program) == "keap/main 7"


def test_module_level_functions_are_the_shared_objects_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = FakeAws()
    aws.publish("keap/main", "t", expires_at=START + 3600, captured={"realmId": "9"})
    evergrant = Evergrant(prefix="evergrant", getter=GETTER, session=aws, clock=Clock())
    monkeypatch.setattr(_default, "_default", evergrant)
    assert evergrant_client.token("keap/main", min_ttl=10) == "t"
    assert evergrant_client.headers("keap/main", {"X": "y"}) == {"X": "y", "Authorization": "Bearer t"}
    assert evergrant_client.access_token("keap/main").captured == {"realmId": "9"}
    assert len(aws.reads) == 1
