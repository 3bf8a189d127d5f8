"""What authors of profiles want to say, and how it is written: the middle of docs/profiles.md. A test loads each.

A recipe is put behind :data:`LEAST`; one that begins with ``name`` is a whole profile.
"""

LEAST = """\
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
    "Each customer has a host of their own": """\
name = "acme"
title = "Acme"

[variables.shop]
describe = "Your shop's sub-domain."
pattern = '[A-Za-z0-9-]+'

[client_credentials]
url = "https://{lower(shop)}.acme.example/token"
""",
    "Credentials for tokens, in JSON, for an audience": """\
name = "acme"
title = "Acme"

[variables.audience]
pattern = '\\S+'

[client_credentials]
url = "https://login.acme.example/oauth/token"
format = "json"
params = { audience = "{audience}" }
""",
    "No PKCE, commas between scopes, one more parameter, one less": """\
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
    "Its fields have other names, and its times other forms": """\
[response]
access_token = ["data.accessToken", "access_token"]
expires = [{ path = "data.expires", format = "epoch_milliseconds" }, { default = 3600 }]
refresh_expires = [{ path = "refresh_token_expires_in" }]
""",
    "Documents disagree on a lifetime, or accounts differ": """\
[variables.refresh_token_days]
describe = "For how many days a refresh token lives: 45 unless your contract says else."
pattern = '[1-9][0-9]{0,3}'
default = "45"

[response]
refresh_expires = [{ default = "{refresh_token_days}", format = "days" }]
""",
    "It says no in its own words": """\
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
""",
    "Its refresh tokens work once, but for half a minute; too early is refused": """\
[rotation]
rotates = true
reuse_grace = 30
minimum_age = 570
""",
    "Nothing need be refreshed while nobody reads": """\
[rotation]
refresh = "on_demand"
""",
    "A person may paste a key instead, which goes into another header": """\
[static]
describe = "Settings > Developer > API keys."
headers = { X-Api-Key = "{access_token}" }
""",
    "Only pasted keys, sent by HTTP Basic together with a user's name": """\
name = "acme"
title = "Acme"

[variables.user]
pattern = '[^:]+'

[static]
describe = "Settings > Developer > API keys."
headers = { Authorization = "Basic {base64(user, ':', access_token)}" }
""",
    "Calls need one more header, and a dead token shows as 403": """\
[consumer]
required_headers = ["x-user-id"]
reject_statuses = [401, 403]
""",
}


def chapter() -> str:
    """The recipes as Markdown."""
    parts = [f"### {title}\n\n```toml\n{text}```\n" for title, text in RECIPES.items()]
    return "\n".join(parts)
