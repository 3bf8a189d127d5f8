"""Token requests and responses on the wire, and the strict parsing of a request by its dialect."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from oauthlib.oauth2 import InvalidClientError, InvalidRequestError, OAuth2Error, UnsupportedGrantTypeError

from local.providers.dialect import CONTENT_TYPES, Dialect
from local.providers.state import Client, fingerprint

# Only these fields of a request are shown in clear; any other might be a secret.
_SHOWN_FIELDS = frozenset(
    {"grant_type", "client_id", "access_key_id", "redirect_uri", "audience", "scope", "token_type_hint"}
)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request of the token endpoint. Header names are in lower case."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    query: str = field(default="", repr=False)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def json(self) -> dict[str, object]:
        """Return the body as the JSON object it is."""
        parsed: dict[str, object] = json.loads(self.body)
        return parsed


def answer_json(status: int, content: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body that no cache may keep (RFC 6749, section 5.1)."""
    return Answer(
        status,
        json.dumps(content),
        {"content-type": "application/json", "cache-control": "no-store", **(headers or {})},
    )


def read_fields(request: TokenRequest, dialect: Dialect) -> dict[str, str]:
    """Return the request's fields. Empty fields count as left out (RFC 6749, section 3.2).

    Raises
    ------
    InvalidRequestError
        Content type or Accept header differ from the dialect's, the body cannot be parsed, or a field is given
        twice.
    """
    if dialect.accept is not None and request.headers.get("accept") != dialect.accept:
        raise InvalidRequestError(f"The Accept header must be {dialect.accept}.", status_code=406)
    expected = CONTENT_TYPES[dialect.body_format]
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != expected:
        raise InvalidRequestError(f"The content type must be {expected}.", status_code=415)
    try:
        text = request.body.decode()
        pairs = _parse_form(text) if dialect.body_format == "form" else _parse_json(text)
    except ValueError:
        # The parser's own message may quote the body, and the body holds secrets.
        raise InvalidRequestError("The body cannot be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequestError("A parameter is given more than once.")
    return {name: value for name, value in fields.items() if value}


def find_phase(request: TokenRequest, fields: Mapping[str, str] | None, dialect: Dialect) -> str:
    """Return the name of the phase that a request is meant for, or ``other``."""
    if dialect.protocol == "login":
        names = {dialect.get_path(phase): name for name, phase in dialect.phases.items()}
        return names.get(request.path, "other")
    grant_type = (fields or {}).get("grant_type", "")
    return grant_type if grant_type in dialect.phases else "other"


def spell(issued: Mapping[str, object], dialect: Dialect) -> dict[str, object]:
    """Return a token answer with its fields as the provider spells them, without those that it does not send."""
    if dialect.answer_fields is None:
        return dict(issued)
    return {spelt: issued[name] for name, spelt in dialect.answer_fields.items() if name in issued}


def check_fields(fields: Mapping[str, str], request: TokenRequest, dialect: Dialect) -> None:
    """Check a token request as far as possible before the client is known.

    Raises
    ------
    InvalidRequestError, UnsupportedGrantTypeError, InvalidClientError
        As RFC 6749, section 5.2, has it.
    """
    grant_type = fields.get("grant_type")
    if grant_type is None:
        raise InvalidRequestError("Missing grant_type parameter.")
    phase = dialect.phases.get(grant_type)
    if phase is None:
        raise UnsupportedGrantTypeError()
    for name in phase.required:
        if name not in fields:
            raise InvalidRequestError(f"Missing {name} parameter.")
    has_header = "authorization" in request.headers
    if phase.client_authentication == "body":
        if has_header or not {"client_id", "client_secret"} <= fields.keys():
            raise InvalidClientError("The client must authenticate in the body.")
    else:
        if not has_header:
            raise InvalidClientError("The client must authenticate with HTTP Basic.")
        if fields.keys() & {"client_id", "client_secret"}:
            raise InvalidRequestError("The client must not be named in the body.")


def parse_basic_credentials(authorization: str | None) -> tuple[str, str] | None:
    """Return id and secret of a Basic header, taken raw as Keap documents it, or nothing."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, separator, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (client_id, client_secret) if separator else None


def compose_refresh(
    dialect: Dialect, client: Client, refresh_token: str, redirect_uri: str | None = None
) -> TokenRequest:
    """Compose the refresh request of a correct client."""
    phase = dialect.phases["refresh_token"]
    fields = {"refresh_token": refresh_token}
    headers = {"content-type": CONTENT_TYPES[dialect.body_format]}
    if dialect.accept is not None:
        headers["accept"] = dialect.accept
    if dialect.protocol == "oauth":
        fields["grant_type"] = "refresh_token"
    if "redirect_uri" in phase.required and redirect_uri is not None:
        fields["redirect_uri"] = redirect_uri
    if phase.client_authentication == "basic":
        pair = base64.b64encode(f"{client.client_id}:{client.client_secret}".encode()).decode()
        headers["authorization"] = f"Basic {pair}"
    elif phase.client_authentication == "body":
        fields |= {"client_id": client.client_id, "client_secret": client.client_secret}
    body = urlencode(fields) if dialect.body_format == "form" else json.dumps(fields)
    return TokenRequest(headers, body.encode(), path=dialect.get_path(phase))


def describe(
    fields: Mapping[str, str] | None, request: TokenRequest, answer: Answer, dialect: Dialect
) -> dict[str, object]:
    """Return what may be kept and shown of a token request: its shape, with fingerprints for secrets."""
    # A refusal without a code is quoted by its status.
    nameless = None if answer.status == 200 else str(answer.status)
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    basic = parse_basic_credentials(request.headers.get("authorization"))
    content = answer.json()
    spellings = dialect.answer_fields or {name: name for name in ("access_token", "refresh_token")}
    return {
        "fields": None if fields is None else {name: _mask(name, value) for name, value in fields.items()},
        "path": request.path,
        "content_type": request.headers.get("content-type"),
        "accept": request.headers.get("accept"),
        "authorization": {
            "scheme": scheme.lower() if credentials else "unreadable",
            "client_id": basic[0] if basic else None,
            "fingerprint": fingerprint(basic[1] if basic else credentials),
        }
        if "authorization" in request.headers
        else None,
        "status": answer.status,
        "error": content.get("error", nameless),
        "issued": {
            name: fingerprint(str(content[spelt]))
            for name, spelt in spellings.items()
            if name in ("access_token", "refresh_token") and spelt in content
        },
        "expires_in": content.get(spellings.get("expires_in", "expires_in")),
    }


def describe_revocation(request: TokenRequest, answer: Answer, dialect: Dialect) -> dict[str, object]:
    """Return what may be kept and shown of a revocation (RFC 7009, section 2.1)."""
    try:
        fields = {name: _mask(name, value) for name, value in read_fields(request, dialect).items()}
    except OAuth2Error:
        fields = None
    return {"fields": fields, "status": answer.status}


def _mask(name: str, value: str) -> str | dict[str, str]:
    return value if name in _SHOWN_FIELDS else {"fingerprint": fingerprint(value)}


def _parse_form(text: str) -> list[tuple[str, str]]:
    if _STRAY_PERCENT.search(text):
        raise ValueError
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []


def _parse_json(text: str) -> list[tuple[str, str]]:
    # As pairs: a dictionary would drop a field that is given twice.
    parsed: object = json.loads(text, object_pairs_hook=_Pairs)
    if not isinstance(parsed, _Pairs) or not all(isinstance(value, str) for _, value in parsed):
        raise ValueError
    for name, value in parsed:
        f"{name}{value}".encode()  # JSON can spell lone surrogates, which are no text
    return list(parsed)


class _Pairs(list[tuple[str, str]]):
    """A JSON object's members, in order."""
