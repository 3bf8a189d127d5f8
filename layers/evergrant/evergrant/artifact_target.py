"""What this artifact was built for. A mismatch is one sentence, before a library of another platform fails to load.

Lambda does not check it: a layer for arm64 can be deployed to a function on x86_64, and dies at its first import. The
build (``scripts/build_artifact.py``) adds the call to the package's ``__init__``, with the target. A checkout has none.
"""

from __future__ import annotations

import platform
import sys

#: Lambda's name of a processor that Linux names otherwise.
_ARCHITECTURES = {"aarch64": "arm64"}


class WrongTarget(Exception):
    """The artifact was built for another runtime or processor than it runs on."""


def check_target(runtime: str, architecture: str) -> None:
    """Compare what the artifact was built for with what it runs on. Raises WrongTarget."""
    machine = platform.machine()
    wanted = runtime, architecture
    found = f"python{sys.version_info[0]}.{sys.version_info[1]}", _ARCHITECTURES.get(machine, machine)
    if wanted != found:
        raise WrongTarget(
            f"This was built for {' on '.join(wanted)}, and runs on {' on '.join(found)}. Set Runtime and Architecture "
            "in samconfig.toml to one of the two, then build and deploy with `make deploy`."
        )
