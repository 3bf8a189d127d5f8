"""Feeds the parsers inputs that lead to code not yet seen, until the oracle fails or the time is over.

    python -m tests.fuzz SECONDS [TARGET ...]      each target, or these, for so many seconds
    python -m tests.fuzz --replay TARGET FILE ...  these inputs alone; needs no atheris

What led somewhere new is kept in .cache/fuzz/, and the next run starts from there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import ROOT, TARGETS, Target, words

CACHE = ROOT / ".cache" / "fuzz"
#: Inputs are short, since a defect that needs more than this is one of size, which tests of their own look at.
LONGEST = 4096
#: Seconds after which one input has taken too long, and megabytes after which the process has grown too far.
SLOWEST, LARGEST = 10, 2048
#: Seconds between two lines of progress.
PACE = 10
_PROGRESS = re.compile(
    r"#(?P<done>\d+)\s+(?P<what>\w+)\s+cov: (?P<cov>\d+) ft: \d+ corp: (?P<corpus>\d+)/\S+.* exec/s: (?P<speed>\d+)"
)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--replay", target, *files] if target in TARGETS and files:
            return _replay(TARGETS[target], files)
        case [seconds, *names] if seconds.isdecimal() and TARGETS.keys() >= set(names):
            return _fuzz(int(seconds), names or list(TARGETS))
    print(f"{__doc__}\nTargets: {', '.join(TARGETS)}.", file=sys.stderr)
    return 2


def _replay(target: Target, files: list[str]) -> int:
    for file in files:
        target.run(Path(file).read_bytes())
        print(f"{file}: the oracle holds")
    return 0


def _fuzz(seconds: int, names: list[str]) -> int:
    if find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        print(f"Left out: there is no atheris for Python {version} on {sys.platform}, only for 3.11 to 3.14 on")
        print("Linux x86-64. The property tests check the same promises everywhere.")
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    dictionary = CACHE / "dictionary"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in words())
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped), "utf-8")
    return max(_fuzz_one(TARGETS[name], seconds, dictionary) for name in names)


def _fuzz_one(target: Target, seconds: int, dictionary: Path) -> int:
    corpus, seeds, broken = (CACHE / target.name / part for part in ("corpus", "seeds", "broken"))
    for folder in (corpus, seeds, broken):
        folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(target.seeds()):
        (seeds / f"{index:04}").write_bytes(seed)
    settings = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "timeout": SLOWEST,
        "rss_limit_mb": LARGEST,
        "use_value_profile": 1,
        "dict": dictionary,
        "artifact_prefix": f"{broken}/",
    }
    flags = [f"-{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", target.name, *flags, str(corpus), str(seeds)]
    known = set(broken.iterdir())
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as running:
        said = _progress(target, running)
    if running.returncode == 0:
        return 0
    print("\n".join(said[-60:]))
    print(f"\n{target.name}: the oracle failed.")
    for file in sorted(set(broken.iterdir()) - known):
        print(f"  saved     {file.relative_to(ROOT)}")
        print(f"  again by  .venv/bin/python -m tests.fuzz --replay {target.name} {file.relative_to(ROOT)}")
    return 1


def _progress(target: Target, running: subprocess.Popen[str]) -> list[str]:
    """Says now and then how far it is; what libFuzzer says besides is given back, for when it fails."""
    said, shown, last = [], 0.0, ""
    for line in running.stdout or ():
        progress = _PROGRESS.match(line)
        if not progress:
            said.append(line.rstrip())
            continue
        last = (
            f"{target.name:10} {int(progress['done']):>9,} executions  {int(progress['speed']):>6,}/s"
            f"  coverage {progress['cov']:>5} edges  corpus {progress['corpus']:>4}"
        )
        if time.monotonic() - shown > PACE and progress["what"] not in ("INITED", "DONE"):
            shown = time.monotonic()
            print(f"{last}  …", flush=True)
    print(last, flush=True)
    return said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
