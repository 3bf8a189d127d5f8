"""The providers that are simulated so far."""

from collections.abc import Mapping

from local.providers.dialect import Dialect, Phase, ProtectedApi

KEAP = Dialect(
    name="keap",
    title="Keap",
    body_format="form",
    token_path="/token",
    authorize_path="/app/oauth/authorize",
    phases={
        # Keap takes the client in the body for the code and in the Authorization header for the refresh.
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

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (KEAP, WEALTHYHOOD)}
