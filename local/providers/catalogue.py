"""The dialects of the simulated providers."""

from collections.abc import Mapping

from local.providers.dialect import Dialect, Phase, ProtectedApi

KEAP = Dialect(
    name="keap",
    title="Keap",
    body_format="form",
    token_path="/token",
    authorize_path="/app/oauth/authorize",
    phases={
        # Keap authenticates the client in the body for the code, and in the Authorization header for the refresh.
        "authorization_code": Phase(client_authentication="body", required=("code", "redirect_uri")),
        "refresh_token": Phase(client_authentication="basic", required=("refresh_token",)),
    },
    api=ProtectedApi(
        path="/v1/contacts",
        answer={"contacts": [{"id": 1, "given_name": "Ada"}, {"id": 2, "given_name": "Grace"}], "count": 2},
    ),
    scopes=("full",),
    access_token_lifetime=24 * 3600,
)

WEALTHYHOOD = Dialect(
    name="wealthyhood",
    title="Wealthyhood",
    body_format="json",
    token_path="/oauth/token",
    phases={"client_credentials": Phase(client_authentication="body", required=("audience",))},
    api=ProtectedApi(
        path="/v1/portfolios",
        answer={"portfolios": [{"id": "portfolio-1", "mode": "REAL"}]},
        required_headers=("x-user-id",),
    ),
    scopes=("portfolios:read",),
    access_token_lifetime=3600,
    default_audience="https://api.wealthyhood.example",
)

INVESTREADY = Dialect(
    name="investready",
    title="InvestReady",
    body_format="form",
    token_path="/oauth/token",
    authorize_path="/oauth/authorize",
    revoke_path="/oauth/revoke",  # not documented: for tests of disconnecting
    phases={
        "authorization_code": Phase(client_authentication="body", required=("code", "redirect_uri")),
        # InvestReady requires the redirect URI in a refresh too; RFC 6749 does not define it there.
        "refresh_token": Phase(client_authentication="body", required=("refresh_token", "redirect_uri")),
        # For tokens of the application itself, without a user and without a refresh token.
        "client_credentials": Phase(client_authentication="body"),
    },
    api=ProtectedApi(
        path="/api/verifications",
        answer={"verifications": [{"id": "verification-1", "status": "accredited"}]},
    ),
    scopes=("verifications",),
    answer_fields={name: name for name in ("access_token", "refresh_token", "expires_in")},
    withdrawn_client="invalid_client",
    access_token_lifetime=90 * 86400,
    # Two years, unless the user revokes or the token is refreshed: a refresh token works once.
    refresh_token_lifetime=2 * 365 * 86400,
)

MODELPORTFOLIOS = Dialect(
    name="modelportfolios",
    title="ModelPortfolios",
    body_format="json",
    token_path="/oauth/token",
    phases={"client_credentials": Phase(client_authentication="body")},
    api=ProtectedApi(
        path="/model-portfolios",
        answer={"modelPortfolios": [{"id": "model-1", "name": "Balanced"}]},
    ),
    scopes=("model-portfolios",),
    accept="application/json; version=1.0.0",
    # The first name is the document's own spelling.
    answer_fields={"access_token": "accessTtoken", "expires_in": "expiresIn", "token_type": "tokenType"},
    withdrawn_client="invalid_client",
    access_token_lifetime=24 * 3600,
)

# The real InvestSuite refuses plain HTTP. The simulation accepts it: it listens on the loopback interface only, and
# every client would have to trust its certificate.
INVESTSUITE = Dialect(
    name="investsuite",
    title="InvestSuite",
    protocol="login",
    body_format="json",
    token_path="/auth/login/",
    phases={
        "login": Phase(
            client_authentication="body",
            client_fields=("access_key_id", "secret_access_key"),
            person_fields=("username", "password"),
        ),
        "refresh_token": Phase(client_authentication="none", required=("refresh_token",), path="/auth/refresh-token/"),
    },
    api=ProtectedApi(
        path="/portfolios/",
        answer={"results": [{"id": "portfolio-1", "currency": "EUR"}]},
        dead_token_status=403,
    ),
    scopes=(),
    # A duration in seconds, despite its name.
    answer_fields={"access_token": "access_token", "refresh_token": "refresh_token", "expires_in": "expires_at"},
    access_token_format="jwt",
    dead_refresh_token=401,
    access_token_lifetime=300,
    refresh_token_lifetime=86400,  # not documented
)

# None of the five: a server with every protection that the standards define for authorization, for tests.
OPENID = Dialect(
    name="openid",
    title="OpenID",
    body_format="form",
    token_path="/token",
    authorize_path="/authorize",
    userinfo_path="/userinfo",
    revoke_path="/revoke",
    issuer="https://login.openid.example",
    requires_pkce=True,
    phases={
        "authorization_code": Phase(client_authentication="body", required=("code", "redirect_uri", "code_verifier")),
        "refresh_token": Phase(client_authentication="body", required=("refresh_token",)),
    },
    api=ProtectedApi(path="/things", answer={"things": []}),
    scopes=("openid", "read", "write"),
    access_token_lifetime=3600,
)

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (KEAP, WEALTHYHOOD, INVESTREADY, MODELPORTFOLIOS, INVESTSUITE)
}
