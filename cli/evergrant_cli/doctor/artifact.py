"""Check that the deployed code was built for the Python and the processor that it runs on.

The names of a layer's extension modules say what they were built for: ``_core.cpython-313-aarch64-linux-gnu.so``
(PEP 3149). Lambda itself does not compare a layer's content with the function (Lambda guide, "Working with layers").
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable

import httpx

from .patient import FUNCTIONS, Patient
from .verdicts import Finding, green, red, unknown

#: A layer is at most 250 MB unzipped (Lambda quotas); this is several times ours.
MAX_LAYER_BYTES = 100 * 1024**2
_ANSWER_SECONDS = 10
_DOWNLOAD_SECONDS = 30
_EXTENSION = re.compile(r"\.cpython-(\d)(\d+)-(\w+?)-linux-gnu\.so$")
_PROCESSORS = {"aarch64": "arm64", "x86_64": "x86_64"}


def check_artifact(patient: Patient) -> Finding:
    """Compare what each function runs on with what its layer was built for."""
    functions = patient.get_client("lambda")
    deployed: dict[str, set[tuple[str, str]]] = {}
    for name in FUNCTIONS:
        found = functions.get_function_configuration(FunctionName=patient.get_function(name))
        for layer in found.get("Layers", []):
            target = (found["Runtime"], found["Architectures"][0])
            deployed.setdefault(layer["Arn"], set()).add(target)
    if not deployed:
        return red("the functions have no layer", "Deploy the stack again.")
    for arn, targets in deployed.items():
        name, version = arn.split(":")[-2:]
        content = functions.get_layer_version(LayerName=name, VersionNumber=int(version))["Content"]
        built = find_targets(zipfile.ZipFile(io.BytesIO(_download(patient, content["Location"]))).namelist())
        if not built:
            return unknown(f"{name} does not show what it was built for", "Deploy the stack again.")
        if built != targets:
            return red(
                f"built for {_format(built)}, and runs on {_format(targets)}",
                "Build and deploy for one target: the parameters Runtime and Architecture, in samconfig.toml.",
            )
    return green(f"built for {_format(targets)}, and runs on it")


def find_targets(names: Iterable[str]) -> set[tuple[str, str]]:
    """Find the runtimes and processors that extension modules were built for, by their names."""
    found = filter(None, map(_EXTENSION.search, names))
    return {(f"python{each[1]}.{each[2]}", _PROCESSORS.get(each[3], each[3])) for each in found}


def _format(targets: set[tuple[str, str]]) -> str:
    return ", ".join(f"{runtime} on {processor}" for runtime, processor in sorted(targets))


def _download(patient: Patient, url: str) -> bytes:
    """Download a layer from the address that Lambda signed for it.

    Raises
    ------
    ConnectionError
        It is not to be had. The address holds a signature, and so is no part of the message.
    """
    data = bytearray()
    end = patient.now + _DOWNLOAD_SECONDS
    try:
        with httpx.stream("GET", url, timeout=_ANSWER_SECONDS) as answer:
            if not answer.is_success:
                raise ConnectionError(f"the layer cannot be downloaded (HTTP {answer.status_code})")
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > MAX_LAYER_BYTES or patient.now > end:
                    raise ConnectionError("the layer is too large to look into")
    except httpx.HTTPError as error:
        raise ConnectionError(f"the layer cannot be downloaded ({type(error).__name__})") from None
    return bytes(data)
