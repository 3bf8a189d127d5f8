"""What a profile must be beyond its types: phases that fit together, and templates that leak nothing. Pure."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from ..errors import InvalidName
from ..names import check_provider, is_host
from ..times import TICK_SECONDS
from .expiry import compute_expiry
from .model import ExpiryRule, Profile
from .request_specs import REQUESTS, TokenRequest
from .templates import fill_template, find_names

_CLIENT = {"client_id", "client_secret"}
#: What each phase's templates may name, besides the profile's variables (never more than the phase needs). A log-in's
#: may also name its credentials.
NAMES_BY_PHASE: dict[str, set[str]] = {
    "authorize": {"client_id", "redirect_uri", "scope", "state", "code_challenge"},
    "exchange": {*_CLIENT, "code", "redirect_uri", "code_verifier"},
    "refresh": {*_CLIENT, "refresh_token", "redirect_uri", "scope"},
    "client_credentials": {*_CLIENT, "scope"},
    "login": {*_CLIENT, "scope"},
    "jwt_bearer": {*_CLIENT, "scope", "assertion"},
    "revoke": {*_CLIENT, "token", "token_type_hint"},
    "consumer": {"access_token", "token_type"},
    "static": {"access_token"},
}
#: What an assertion's claims may name: ``url`` is the endpoint that it is sent to.
NAMES_IN_CLAIMS = {"client_id", "scope", "url"}
_ADDED_CLAIMS = {"iat", "exp", "jti"}
_RESERVED = set().union(*NAMES_BY_PHASE.values(), NAMES_IN_CLAIMS)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: A pattern that nothing but digits can match.
_DIGITS = re.compile(r"(\[[0-9]-[0-9]\](\{[0-9]+(,[0-9]+)?\}|[+*?])?)+")
#: RFC 9110 section 5.1: a field name is a token.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: RFC 9110 section 5.5, with visible ASCII alone; an empty one deletes a header.
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
#: HTTP's own, which a profile could only break.
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}
#: Without a refresh token somebody authorizes again each time: bearable from this lifetime on (30 days, in seconds).
LONG_LIVED_SECONDS = 2_592_000


def find_problems(profile: Profile) -> Iterator[str]:
    """What is wrong, each with its key, the most telling first."""
    yield from _of_phases(profile)
    yield from _of_variables(profile)
    yield from _of_login(profile)
    yield from _of_assertions(profile)
    yield from _of_response(profile)
    yield from _of_subject(profile)
    for place, template, allowed in _templates(profile):
        yield from _of_template(place, template, allowed | profile.variables.keys())
    yield from _of_headers(profile)
    rate = profile.rotation.rate
    if rate and rate.seconds > TICK_SECONDS * rate.requests:
        yield "rotation.rate: a rate of less than one request a minute cannot be kept; leave it out"


def _of_phases(profile: Profile) -> Iterator[str]:
    try:
        check_provider(profile.name)
    except InvalidName as error:
        yield f"name: {error} {error.hint}"
    if not profile.grants:
        yield ("it needs [authorize] with [exchange], or [client_credentials], [login], [jwt_bearer] or [static]")
    if (profile.authorize is None) != (profile.exchange is None):
        yield "[authorize] and [exchange] go together"
    if profile.authorize and not profile.refresh and not _long_lived(profile):
        yield (
            "[refresh] is missing; it may be left out only where tokens are long-lived, as the last rule of "
            f"response.expires then says with a default of at least {LONG_LIVED_SECONDS} seconds (30 days)"
        )
    if profile.refresh and not (profile.authorize or profile.login):
        yield "[refresh] is for grants that bring a refresh token: [authorize] with [exchange], or [login]"
    if profile.authorize and profile.authorize.issuer and not profile.authorize.issuer.startswith("https://"):
        yield "authorize.issuer: an issuer is an https URL (RFC 8414 section 2)"
    if profile.authorize and profile.authorize.issuer_always and not profile.authorize.issuer:
        yield "authorize.issuer_always: it needs authorize.issuer"


def _long_lived(profile: Profile) -> bool:
    last = compute_expiry(profile.response.expires[-1:], {}, 0, profile.defaults)
    return last is not None and last[0] >= LONG_LIVED_SECONDS


def _of_variables(profile: Profile) -> Iterator[str]:
    for name, variable in profile.variables.items():
        if not _NAME.fullmatch(name):
            yield f"variables.{name}: write it in small letters, digits and _"
        if name in _RESERVED:
            yield f"variables.{name}: this name has a meaning of its own in templates; choose another"
        try:
            with warnings.catch_warnings(action="error"):
                fits = variable.default is None or re.fullmatch(variable.pattern, variable.default)
                re.compile(variable.pattern)
        except (re.error, FutureWarning, DeprecationWarning, OverflowError, RecursionError) as error:
            yield f"variables.{name}.pattern: {error}"
            continue
        if not fits:
            yield f"variables.{name}.default: it does not match the pattern"


def _of_login(profile: Profile) -> Iterator[str]:
    login = profile.login
    if login is None:
        if profile.rotation.fall_back_to_login:
            yield "rotation.fall_back_to_login: there is no [login]"
        return
    if profile.refresh and not profile.rotation.fall_back_to_login:
        # Else a refused refresh token would be refused for ever: nobody can authorize a log-in by hand.
        yield "rotation.fall_back_to_login: a [login] with [refresh] needs it to be true"
    for index, names in enumerate(login.credentials):
        place = f"login.credentials[{index}]"
        if not names:
            yield f"{place}: a set names one credential at least"
        for name in names:
            if not _NAME.fullmatch(name):
                yield f"{place}: {name!r} is no name; write it in small letters, digits and _"
            if name in _RESERVED or name in profile.variables:
                yield f"{place}: {name} has another meaning here; choose another name"
        if len(set(names)) != len(names):
            yield f"{place}: a credential is named twice"


def _of_assertions(profile: Profile) -> Iterator[str]:
    for phase in REQUESTS:
        request: TokenRequest | None = getattr(profile, phase)
        if request and request.client_auth == "private_key_jwt":
            taken = {"client_assertion", "client_assertion_type"} & request.params.keys()
            for name in sorted(taken):
                yield f'{phase}.params.{name}: client_auth = "private_key_jwt" writes it'
    if profile.jwt_bearer is None:
        return
    for name in sorted(_ADDED_CLAIMS & profile.jwt_bearer.claims.keys()):
        yield f"jwt_bearer.claims.{name}: it is added by itself"
    if "iss" not in profile.jwt_bearer.claims or "aud" not in profile.jwt_bearer.claims:
        yield "jwt_bearer.claims: it needs iss and aud at least (RFC 7523 section 3)"
    if profile.jwt_bearer.lifetime == 0:
        yield "jwt_bearer.lifetime: an assertion that never was valid is of no use"


def _of_response(profile: Profile) -> Iterator[str]:
    for name in ("expires", "refresh_expires"):
        for index, rule in enumerate(getattr(profile.response, name)):
            if (rule.path is None) + (rule.jwt is None) + (rule.default is None) != 2:
                yield f"response.{name}[{index}]: an expiry rule has exactly one of path, jwt and default"
            elif rule.default is not None:
                yield from _of_default(profile, f"response.{name}[{index}]", rule)
    if not profile.response.expires:
        yield "response.expires: it needs a rule"
    for name in sorted(profile.response.capture.keys() & profile.callback.capture.keys()):
        yield f"callback.capture.{name}: response.capture has it too"


def _of_default(profile: Profile, place: str, rule: ExpiryRule) -> Iterator[str]:
    if rule.format not in ("seconds", "milliseconds", "days"):
        yield f"{place}.format: a default is a duration: seconds, milliseconds or days"
    if rule.variable is None:
        return
    variable = profile.variables.get(rule.variable)
    if rule.default != f"{{{rule.variable}}}" or variable is None:
        named = ", ".join(f"{{{name}}}" for name in profile.variables) or "none: the profile has no variables"
        yield f"{place}.default: write a number, or one variable in braces; allowed are {named}"
    elif not _DIGITS.fullmatch(variable.pattern):
        yield f"variables.{rule.variable}.pattern: {place}.default needs one of digits, such as [1-9][0-9]{{0,3}}"
    elif variable.default is None:
        yield f"variables.{rule.variable}.default: {place}.default needs one, what the provider documents"


def _of_subject(profile: Profile) -> Iterator[str]:
    told = profile.subject
    if told is None:
        return
    if profile.authorize is None:
        yield "subject: nobody consents here; it is for [authorize]"
    if (told.url is not None) != (told.source == "userinfo"):
        yield 'subject.url: from = "userinfo" needs it, and nothing else does'
    if bool(told.issuers) != (told.source == "id_token"):
        yield 'subject.issuers: from = "id_token" needs one at least, and nothing else does'
    if told.source == "capture" and told.path not in profile.response.capture.keys() | profile.callback.capture.keys():
        yield f"subject.path: no captured value is called {told.path}"


def _of_template(place: str, template: str, allowed: set[str]) -> Iterator[str]:
    if "\r" in template or "\n" in template:
        yield f"{place}: it holds a line break"
    try:
        unknown = [name for name in find_names(template) if name not in allowed]
    except ValueError as error:
        yield f"{place}: {error}"
        return
    if unknown:
        listed = ", ".join(sorted(allowed)) or "none: the profile has no variables"
        yield f"{place}: {{{unknown[0]}}} has no value here; allowed are {listed}"
    elif place.endswith(".url") and place.count(".") == 1 and not _is_endpoint(template):
        yield f"{place}: write https://host/path, with no query"


def _is_endpoint(template: str) -> bool:
    scheme, _, rest = template.partition("://")
    authority, _, path = rest.partition("/")
    host = fill_template(authority, dict.fromkeys(find_names(authority), "x")) or ""
    return scheme == "https" and is_host(host) and not re.search(r"[^!-~]|[?#\\]", path)


def _of_headers(profile: Profile) -> Iterator[str]:
    tables = {phase: getattr(profile, phase) for phase in (*REQUESTS, "consumer", "static")}
    for phase, table in tables.items():
        for name, template in (table.headers if table else {}).items():
            if not _HEADER.fullmatch(name):
                yield f"{phase}.headers: {name!r} is no name of a header"
            elif name.lower() in _OWN_HEADERS:
                yield f"{phase}.headers.{name}: HTTP itself writes it"
            if not _HEADER_VALUE.fullmatch(template):
                yield f"{phase}.headers.{name}: a header holds ASCII only, no space at its ends (RFC 9110 section 5.5)"
    for name in profile.consumer.required_headers:
        if not _HEADER.fullmatch(name):
            yield f"consumer.required_headers: {name!r} is no name of a header"


def _templates(profile: Profile) -> Iterator[tuple[str, str, set[str]]]:
    """Every template: its key, its text, and what it may name besides variables.

    Only variables go into a URL, whose patterns bound them: neither a secret nor anything a browser or an answer
    brought (a captured value) can choose where a request goes.
    """
    if profile.authorize:
        yield "authorize.url", profile.authorize.url, set()
        for key, template in profile.authorize.params.items():
            yield f"authorize.params.{key}", template, NAMES_BY_PHASE["authorize"]
    for phase in REQUESTS:
        request: TokenRequest | None = getattr(profile, phase)
        if request is None:
            continue
        allowed = set(NAMES_BY_PHASE[phase])
        if phase == "login" and profile.login:
            allowed |= {name for names in profile.login.credentials for name in names}
        yield f"{phase}.url", request.url, set()
        for group, entries in (("headers", request.headers), ("params", request.params)):
            for key, template in entries.items():
                yield f"{phase}.{group}.{key}", template, allowed
    for key, template in (profile.jwt_bearer.claims if profile.jwt_bearer else {}).items():
        yield f"jwt_bearer.claims.{key}", template, NAMES_IN_CLAIMS
    if profile.subject:
        for index, template in enumerate(profile.subject.issuers):
            yield f"subject.issuers[{index}]", template, {"tid"}
        if profile.subject.url:
            yield "subject.url", profile.subject.url, set()
    for key, template in profile.consumer.headers.items():
        yield f"consumer.headers.{key}", template, NAMES_BY_PHASE["consumer"]
    for key, template in (profile.static.headers if profile.static else {}).items():
        yield f"static.headers.{key}", template, NAMES_BY_PHASE["static"]
