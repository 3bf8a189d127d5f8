"""Recipes for authors of profiles, for docs/profiles.md. A test loads each.

A recipe continues :data:`MINIMAL`; one that begins with ``name`` is a whole profile.
"""

MINIMAL = """\
name = "acme"
title = "Acme"

[authorize]
url = "https://login.acme.example/authorize"

[exchange]
url = "https://api.acme.example/token"

[refresh]
url = "https://api.acme.example/token"
"""

RECIPES = {
    "Each customer has its own host": """\
name = "acme"
title = "Acme"

[variables.shop]
describe = "Your shop's sub-domain."
pattern = '[A-Za-z0-9-]+'

[client_credentials]
url = "https://{lower(shop)}.acme.example/token"
""",
    "Client credentials, sent as JSON, with an audience": """\
name = "acme"
title = "Acme"

[variables.audience]
pattern = '\\S+'

[client_credentials]
url = "https://login.acme.example/oauth/token"
format = "json"
params = { audience = "{audience}" }
""",
    "No PKCE, scopes separated by commas, a parameter added and another removed": """\
name = "acme"
title = "Acme"

[authorize]
url = "https://login.acme.example/authorize"
scopes = ["read", "write"]
scope_separator = ","
pkce = false
params = { access_type = "offline", response_type = "" }

[exchange]
url = "https://api.acme.example/token"

[refresh]
url = "https://api.acme.example/token"
client_auth = "basic"
params = { redirect_uri = "{redirect_uri}" }
""",
    "Other names for the fields of the response, and other formats of times": """\
[response]
access_token = ["data.accessToken", "access_token"]
expires = [{ path = "data.expires", format = "epoch_milliseconds" }, { default = 3600 }]
refresh_expires = [{ path = "refresh_token_expires_in" }]
""",
    "The provider's documents disagree on a lifetime, or accounts differ": """\
[variables.refresh_token_days]
describe = "For how many days a refresh token is valid: 45 unless your contract says otherwise."
pattern = '[1-9][0-9]{0,3}'
default = "45"

[response]
refresh_expires = [{ default = "{refresh_token_days}", format = "days" }]
""",
    "Errors in the provider's own form": """\
[response]
success_when = { path = "ok", equals = true }

[[errors]]
status = 400
empty = true
as = "rejected_unknown"

[[errors]]
code = "invalid_request"
description = "Invalid Refresh Token"
as = "grant_rejected"

[[errors]]
description_contains = "Rate limit exceeded"
as = "rate_limited"
""",
    "Zero means never, the token's type is the provider's own, and a `Retry-After` may be long": """[response]
expires = [{ path = "expires_in", zero = "never" }, { jwt = "access_token" }]
bearer_types = ["bot"]

[rotation]
max_retry_after = 86400
""",
    "A refresh token can be used again for 30 seconds, and a token cannot be refreshed too early": """\
[rotation]
rotates = true
reuse_grace = 30
minimum_age = 570
""",
    "Refresh only when a consumer asks": """\
[rotation]
refresh = "on_demand"
""",
    "A person may paste a key instead, which is sent in another header": """\
[static]
describe = "Settings > Developer > API keys."
headers = { X-Api-Key = "{access_token}" }
""",
    "Pasted keys only, sent by HTTP Basic together with a user's name": """\
name = "acme"
title = "Acme"

[variables.user]
pattern = '[^:]+'

[static]
describe = "Settings > Developer > API keys."
headers = { Authorization = "Basic {base64(user, ':', access_token)}" }
""",
    "Calls need an additional header, and the API rejects a token with 403": """\
[consumer]
required_headers = ["x-user-id"]
reject_statuses = [401, 403]
""",
}


def write_recipes() -> str:
    """Write the recipes as Markdown."""
    parts = [f"### {title}\n\n```toml\n{text}```\n" for title, text in RECIPES.items()]
    return "\n".join(parts)
