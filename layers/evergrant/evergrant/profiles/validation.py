"""Checks of a profile beyond its types: tables that fit together, and templates that leak no secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import InvalidName
from ..names import check_provider
from ..times import TICK_SECONDS
from .expiry import compute_expiry
from .leaks import find_leaks, find_unsafe_texts
from .model import Profile
from .pattern_limits import MAX_VALUE_CHARACTERS, find_pattern_problem
from .request_specs import REQUESTS, TokenRequest
from .response_specs import ExpiryRule
from .templates import fill_template, find_names, is_host

_CLIENT = {"client_id", "client_secret"}
#: The names that each phase's templates may use besides the profile's variables: no more than the phase needs. Those of
#: a log-in may also use the names of its credentials.
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
#: The names that an assertion's claims may use: ``url`` is the endpoint that the assertion is sent to.
NAMES_IN_CLAIMS = {"client_id", "scope", "url"}
_ADDED_CLAIMS = {"iat", "exp", "jti"}
_ADDED_ASSERTION_PARAMS = {"client_assertion", "client_assertion_type"}
_RESERVED_NAMES = set().union(*NAMES_BY_PHASE.values(), NAMES_IN_CLAIMS)
_DURATION_FORMATS = ("seconds", "milliseconds", "days")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: A pattern that digits alone can match.
_DIGITS_PATTERN = re.compile(r"(\[[0-9]-[0-9]\](\{[0-9]+(,[0-9]+)?\}|[+*?])?)+")
#: RFC 9110 section 5.1: a field name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: RFC 9110 section 5.5, with visible ASCII alone; an empty value deletes a header.
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
#: The headers that HTTP itself writes.
_FRAMING_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}
_NOT_IN_PATH = re.compile(r"[^!-~]|[?#\\]")
#: Without a refresh token a person authorizes again whenever a token expires. From this lifetime on (30 days) that is
#: acceptable.
LONG_LIVED_SECONDS = 2_592_000


def find_problems(profile: Profile) -> Iterator[str]:
    """Find what is wrong with a profile: one message for each problem, with its key, the most helpful first."""
    yield from _check_phases(profile)
    yield from find_leaks(profile)
    yield from _check_variables(profile)
    yield from _check_login(profile)
    yield from _check_assertions(profile)
    yield from _check_response(profile)
    yield from _check_subject(profile)
    yield from _check_scopes(profile)
    for place, template, allowed in _list_templates(profile):
        yield from _check_template(place, template, allowed | profile.variables.keys())
    yield from _check_headers(profile)
    rate = profile.rotation.rate
    if rate and rate.seconds > TICK_SECONDS * rate.requests:
        yield "rotation.rate: a rate of less than one request a minute cannot be kept; leave it out"
    yield from find_unsafe_texts(profile)


def _check_phases(profile: Profile) -> Iterator[str]:
    try:
        check_provider(profile.name)
    except InvalidName as error:
        yield f"name: {error} {error.hint}"
    if not profile.grants:
        yield "it needs [authorize] with [exchange], or [client_credentials], [login], [jwt_bearer] or [static]"
    if (profile.authorize is None) != (profile.exchange is None):
        yield "[authorize] and [exchange] go together"
    if profile.authorize and not profile.refresh and not _has_long_lived_tokens(profile):
        yield (
            "[refresh] is missing; leave it out only where tokens are long-lived, which the last rule of "
            f"response.expires states by a default of at least {LONG_LIVED_SECONDS} seconds (30 days)"
        )
    if profile.refresh and not (profile.authorize or profile.login):
        yield "[refresh] is for grants that bring a refresh token: [authorize] with [exchange], or [login]"
    if profile.authorize and profile.authorize.issuer and not profile.authorize.issuer.startswith("https://"):
        yield "authorize.issuer: an issuer is an https URL (RFC 8414 section 2)"
    if profile.authorize and profile.authorize.issuer_always and not profile.authorize.issuer:
        yield "authorize.issuer_always: it needs authorize.issuer"


def _has_long_lived_tokens(profile: Profile) -> bool:
    last = compute_expiry(profile.response.expires[-1:], {}, 0, profile.defaults)
    return last is not None and last[0] >= LONG_LIVED_SECONDS


def _check_variables(profile: Profile) -> Iterator[str]:
    for name, variable in profile.variables.items():
        if not _NAME.fullmatch(name):
            yield f"variables.{name}: use lower-case letters, digits and _, a letter first"
        if name in _RESERVED_NAMES:
            yield f"variables.{name}: this name is reserved in templates; choose another"
        problem = find_pattern_problem(variable.pattern)
        if problem:
            yield f"variables.{name}.pattern: {problem}"
        elif variable.default is None:
            continue
        elif len(variable.default) > MAX_VALUE_CHARACTERS:
            yield f"variables.{name}.default: a value has at most {MAX_VALUE_CHARACTERS} characters"
        elif not re.fullmatch(variable.pattern, variable.default):
            yield f"variables.{name}.default: it does not match the pattern"


def _check_login(profile: Profile) -> Iterator[str]:
    login = profile.login
    if login is None:
        if profile.rotation.fall_back_to_login:
            yield "rotation.fall_back_to_login: there is no [login]"
        return
    if profile.refresh and not profile.rotation.fall_back_to_login:
        # A refused refresh token would be refused for ever: no person can authorize a log-in.
        yield "rotation.fall_back_to_login: a [login] with [refresh] needs it to be true"
    for index, names in enumerate(login.credentials):
        place = f"login.credentials[{index}]"
        if not names:
            yield f"{place}: a set names at least one credential"
        for name in names:
            if not _NAME.fullmatch(name):
                yield f"{place}: {name!r} is not a name; use lower-case letters, digits and _, a letter first"
            if name in _RESERVED_NAMES or name in profile.variables:
                yield f"{place}: {name} has another meaning here; choose another name"
        if len(set(names)) != len(names):
            yield f"{place}: a credential is named twice"


def _check_assertions(profile: Profile) -> Iterator[str]:
    for phase in REQUESTS:
        request: TokenRequest | None = getattr(profile, phase)
        if request and request.client_auth == "private_key_jwt":
            for name in sorted(_ADDED_ASSERTION_PARAMS & request.params.keys()):
                yield f'{phase}.params.{name}: client_auth = "private_key_jwt" writes it'
    if profile.jwt_bearer is None:
        return
    for name in sorted(_ADDED_CLAIMS & profile.jwt_bearer.claims.keys()):
        yield f"jwt_bearer.claims.{name}: Evergrant adds it; leave it out"
    if "iss" not in profile.jwt_bearer.claims or "aud" not in profile.jwt_bearer.claims:
        yield "jwt_bearer.claims: it needs at least iss and aud (RFC 7523 section 3)"
    if profile.jwt_bearer.lifetime == 0:
        yield "jwt_bearer.lifetime: it must be at least 1 second"


def _check_response(profile: Profile) -> Iterator[str]:
    for name in ("expires", "refresh_expires"):
        for index, rule in enumerate(getattr(profile.response, name)):
            place = f"response.{name}[{index}]"
            if sum(source is not None for source in (rule.path, rule.jwt, rule.default)) != 1:
                yield f"{place}: an expiry rule has exactly one of path, jwt and default"
            elif rule.default is not None:
                yield from _check_default(profile, place, rule)
    if not profile.response.expires:
        yield "response.expires: it needs a rule"
    for name in sorted(profile.response.capture.keys() & profile.callback.capture.keys()):
        yield f"callback.capture.{name}: response.capture has it too"
    for table, spec in (("response", profile.response), ("callback", profile.callback)):
        for name, pattern in spec.patterns.items():
            problem = find_pattern_problem(pattern) if name in spec.capture else f"there is no {table}.capture.{name}"
            if problem:
                yield f"{table}.patterns.{name}: {problem}"


def _check_default(profile: Profile, place: str, rule: ExpiryRule) -> Iterator[str]:
    if rule.format not in _DURATION_FORMATS:
        yield f"{place}.format: a default is a duration: seconds, milliseconds or days"
    if rule.variable is None:
        return
    variable = profile.variables.get(rule.variable)
    if rule.default != f"{{{rule.variable}}}" or variable is None:
        named = ", ".join(f"{{{name}}}" for name in profile.variables) or "none: the profile has no variables"
        yield f"{place}.default: write a number, or one variable in braces; allowed are {named}"
    elif not _DIGITS_PATTERN.fullmatch(variable.pattern):
        yield f"variables.{rule.variable}.pattern: {place}.default needs one of digits, such as [1-9][0-9]{{0,3}}"
    elif variable.default is None:
        yield f"variables.{rule.variable}.default: {place}.default needs one, the value that the provider documents"


def _check_subject(profile: Profile) -> Iterator[str]:
    subject = profile.subject
    if subject is None:
        return
    if profile.authorize is None:
        yield "subject: it needs [authorize]: without a person's consent there is no account to recognize"
    from_browser = subject.source == "capture" and subject.path in profile.callback.capture
    if (subject.url is not None) != (subject.source == "userinfo" or from_browser):
        yield (
            "subject.url: a userinfo and a value that the callback captures need it, since anyone can change what "
            "comes by the browser; no other source may have it"
        )
    if bool(subject.issuers) != (subject.source == "id_token"):
        yield 'subject.issuers: from = "id_token" needs at least one, and no other source may have any'
    captured = profile.response.capture.keys() | profile.callback.capture.keys()
    if subject.source == "capture" and subject.path not in captured:
        yield f"subject.path: there is no captured value {subject.path}"


def _check_scopes(profile: Profile) -> Iterator[str]:
    for pattern, included in profile.scopes.implied.items():
        place = f"scopes.implied.{pattern}"
        if pattern.count("*") > 1 or pattern == "*":
            yield f"{place}: write one scope, with one * at most, and more than that"
        if not included:
            yield f"{place}: it names at least one scope"
        for scope in (pattern, *included):
            if re.search(r"[\s,]", scope):
                yield f"{place}: {scope!r} holds a separator; write one scope"
        if "*" not in pattern and any("*" in scope for scope in included):
            yield f"{place}: only a pattern with * may include one"


def _check_template(place: str, template: str, allowed: set[str]) -> Iterator[str]:
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
    elif _is_url_of_phase(place) and not _is_endpoint(template):
        yield f"{place}: write https://host/path, without a query"


def _is_url_of_phase(place: str) -> bool:
    return place.endswith(".url") and place.count(".") == 1


def _is_endpoint(template: str) -> bool:
    scheme, _, rest = template.partition("://")
    authority, _, path = rest.partition("/")
    host = fill_template(authority, dict.fromkeys(find_names(authority), "x")) or ""
    return scheme == "https" and is_host(host) and not _NOT_IN_PATH.search(path)


def _check_headers(profile: Profile) -> Iterator[str]:
    tables = {phase: getattr(profile, phase) for phase in (*REQUESTS, "consumer", "static")}
    for phase, table in tables.items():
        for name, template in (table.headers if table else {}).items():
            if not _HEADER_NAME.fullmatch(name):
                yield f"{phase}.headers: {name!r} is not a header's name"
            elif name.lower() in _FRAMING_HEADERS:
                yield f"{phase}.headers.{name}: HTTP itself writes it"
            if not _HEADER_VALUE.fullmatch(template):
                yield f"{phase}.headers.{name}: a header holds ASCII only, no space at its ends (RFC 9110 section 5.5)"
    for name in profile.consumer.required_headers:
        if not _HEADER_NAME.fullmatch(name):
            yield f"consumer.required_headers: {name!r} is not a header's name"


def _list_templates(profile: Profile) -> Iterator[tuple[str, str, set[str]]]:
    """List every template: its key, its text, and the names that it may use besides variables.

    A URL may use variables alone, which their patterns bound. So neither a secret nor a value from a browser or a
    response (a captured value) can choose where a request goes. The address that confirms a captured value holds it, by
    its pattern, in the path.
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
            yield "subject.url", profile.subject.url, set(profile.callback.patterns)
    for key, template in profile.consumer.headers.items():
        yield f"consumer.headers.{key}", template, NAMES_BY_PHASE["consumer"]
    for key, template in (profile.static.headers if profile.static else {}).items():
        yield f"static.headers.{key}", template, NAMES_BY_PHASE["static"]
