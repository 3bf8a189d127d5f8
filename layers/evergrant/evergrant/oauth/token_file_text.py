"""The forms in which people have a token set on disk or in the clipboard: from a text to names and values. Pure.

JSON, a dictionary as Python prints it, a form, and lines of ``name = value``; all of it also behind the head of an HTTP
response, or in the fence of a Markdown block.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from ..errors import InvalidRequest

#: A section or a ``name = value`` line of rclone's configuration (rclone.org/docs, "Configuration file"), or of an
#: environment file.
_SECTION = re.compile(r"\[([^\]]+)\]")
_LINE = re.compile(r"(?:export\s+)?([\w.-]+)\s*[=:]\s*(.*)")
_FENCE = re.compile(r"```\w*\s*\n(.*?)\n?\s*```", re.DOTALL)
_HTTP_HEAD = re.compile(r"HTTP/[\d.]+ \d{3}.*?\r?\n\r?\n", re.DOTALL)
#: The ways in which databases write a value with its type: DynamoDB's AttributeValue, Firestore's REST Value, and
#: MongoDB's Extended JSON.
_TYPED = frozenset(
    (
        *("S", "N", "BOOL", "NULL", "stringValue", "integerValue", "doubleValue", "booleanValue", "timestampValue"),
        *("$date", "$numberLong", "$numberInt", "$numberDouble"),
    )
)
_MAX_DEPTH = 24

_FORM_HINT = 'Write {"access_token": "…", "refresh_token": "…", "expires_at": "2027-01-31T00:00:00Z"}.'


def decode_text(text: str) -> Any:
    """Decode a text in any of the forms.

    Raises
    ------
    InvalidRequest
        It has none of them. It names the line and column, and repeats nothing.
    """
    text = text.strip().removeprefix("\ufeff").strip()
    if fence := _FENCE.fullmatch(text):
        text = fence[1].strip()
    if head := _HTTP_HEAD.match(text):
        text = text[head.end() :].strip()
    document = _unwrap(_decode(text))
    if isinstance(document, str) and document.lstrip()[:1] in ("{", "["):  # JSON as a JSON text
        document = _unwrap(_decode(document.strip()))
    if isinstance(document, Mapping) and document.get("kind") == "Secret" and "apiVersion" in document:
        raise InvalidRequest(
            "This is a Secret of Kubernetes, whose values are encoded.",
            "Decode it: kubectl get secret NAME --output json | jq '.data | map_values(@base64d)'.",
        )
    return document


def _decode(text: str) -> Any:
    first_line = text.partition("\n")[0].strip()
    is_section = _SECTION.fullmatch(first_line) is not None and first_line[1:2] not in ('"', "{", "[", "'")
    if text[:1] in ("{", "[", '"') and not is_section:
        try:
            return json.loads(text)
        except RecursionError:
            raise InvalidRequest("The token set is nested too deeply.") from None
        except json.JSONDecodeError as error:
            # Not chained: the error carries the whole text, secrets and all, as its ``doc``.
            place = f"line {error.lineno}, column {error.colno}: {error.msg.partition(':')[0]}"
        literal = _decode_python(text)
        if literal is not None:
            return literal
        raise InvalidRequest(f"The token set is no JSON at {place}.", _FORM_HINT)
    if "=" in text and "\n" not in text and "&" in text:
        return dict(parse_qsl(text))
    lines = _decode_lines(text)
    if not lines:
        raise InvalidRequest("The token set is no JSON object, at line 1, column 1.", _FORM_HINT)
    return lines


def _decode_python(text: str) -> Any:
    """Decode a dictionary or list as Python's ``print`` writes it; None where it is none."""
    try:
        literal = ast.literal_eval(text)
        json.dumps(literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return literal


def _decode_lines(text: str) -> dict[str, Any]:
    """Decode ``name = value`` lines, in sections or not."""
    sections: dict[str, Any] = {}
    current = sections
    for line in text.splitlines():
        stripped = line.strip()
        if section := _SECTION.fullmatch(stripped):
            current = sections.setdefault(section[1].strip(), {})
        elif (pair := _LINE.fullmatch(stripped)) and not stripped.startswith(("#", ";")):
            value = pair[2].strip()
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            current[pair[1]] = value[1:-1] if is_quoted else value
    return sections if sections is not current else _strip_prefix(sections)


def _strip_prefix(lines: dict[str, Any]) -> dict[str, Any]:
    """Take what all names begin with away: ``XERO_`` of ``XERO_ACCESS_TOKEN`` and ``XERO_REFRESH_TOKEN``."""
    first = next(iter(lines), "")
    heads = (first[: end + 1] for end, character in enumerate(first) if character == "_")
    shared = [head for head in heads if all(name.startswith(head) for name in lines)]
    if len(lines) < 2 or not shared:
        return lines
    return {name.removeprefix(shared[-1]): value for name, value in lines.items()}


def _unwrap(value: Any, depth: int = 0) -> Any:
    """Take values out of the objects in which databases write their types."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_unwrap(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (kind := next(iter(value))) in _TYPED:
        return _unwrap(value[kind], depth + 1)
    return {name: _unwrap(item, depth + 1) for name, item in value.items()}
