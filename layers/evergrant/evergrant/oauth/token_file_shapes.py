"""How other tools write a token set: the names of its fields, and the fields by which a tool is known. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: Each field of a token response, and times of it, under the names that tools give it. The first that is there counts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "access_token": ("accesstoken", "token", "tokenvalue", "accesstokenvalue", "oauthtoken"),
    "refresh_token": ("refreshtoken", "refreshtokenvalue", "tokensecret"),
    "token_type": ("tokentype", "accesstokentype"),
    "scope": ("scope", "scopes", "approvedscopes", "grantedscopes", "accesstokenscopes"),
    "expires_at": (
        *("expiresat", "expiry", "expireson", "tokenexpiry", "expirydate", "tokenexpirydate", "expiresatutc"),
        *("accesstokenexpiresat", "tokenexpiresat", "accesstokenexpiry", "expiration", "expires"),
    ),
    "expires_in": ("expiresin", "accesstokenexpiresin", "tokenexpiresin", "expires"),
    "obtained_at": (
        *("createdat", "created", "issuedat", "obtainedat", "authtime", "cachedat", "accesstokenissuedat"),
        "grantedtime",
    ),
    "refresh_expires_at": (
        *("refreshexpiresat", "refreshtokenexpiresat", "refreshtokenexpiry", "xrefreshtokenexpiresat"),
        "refreshtokenexpireson",
    ),
    "refresh_expires_in": ("refreshexpiresin", "refreshtokenexpiresin", "xrefreshtokenexpiresin"),
}


class Shape(NamedTuple):
    """A tool's file: its name for operators, the fields that show it (normalized), and who documents it."""

    title: str
    marks: tuple[str, ...]
    source: str


#: The first whose marks are all there counts.
SHAPES = (
    Shape(
        "a Google authorized-user file",
        ("token", "refreshtoken", "tokenuri"),
        "https://googleapis.dev/python/google-auth/latest/reference/google.oauth2.credentials.html",
    ),
    Shape(
        "an oauth2client file",
        ("tokenexpiry", "tokenuri"),
        "https://oauth2client.readthedocs.io/en/latest/source/oauth2client.client.html",
    ),
    Shape(
        "gcloud's application-default credentials",
        ("type", "clientid", "clientsecret", "refreshtoken"),
        "https://cloud.google.com/docs/authentication/application-default-credentials",
    ),
    Shape(
        "a token of Google's library for Node.js",
        ("accesstoken", "expirydate"),
        "https://github.com/googleapis/google-auth-library-nodejs",
    ),
    Shape(
        "a token of Google's library for PHP",
        ("accesstoken", "created", "expiresin"),
        "https://github.com/googleapis/google-api-php-client",
    ),
    Shape(
        "an ADAL cache", ("accesstoken", "ismrrt"), "https://learn.microsoft.com/en-us/cli/azure/msal-based-azure-cli"
    ),
    Shape("an account of Auth.js", ("provideraccountid",), "https://authjs.dev/concepts/database-models"),
    Shape("a token of django-allauth", ("token", "tokensecret"), "https://docs.allauth.org/en/latest/socialaccount/"),
    Shape("a user of Laravel Socialite", ("token", "refreshtoken", "expiresin"), "https://laravel.com/docs/socialite"),
    Shape(
        "a token of python-social-auth",
        ("accesstoken", "authtime"),
        "https://python-social-auth.readthedocs.io/en/latest/storage.html",
    ),
    Shape(
        "a token of League's OAuth client for PHP",
        ("accesstoken", "expires"),
        "https://github.com/thephpleague/oauth2-client",
    ),
    Shape(
        "an Airbyte configuration",
        ("refreshtoken", "tokenexpirydate"),
        "https://docs.airbyte.com/connector-development/connector-specification-reference",
    ),
    Shape(
        "an Airbyte configuration",
        ("authtype", "refreshtoken"),
        "https://docs.airbyte.com/connector-development/connector-specification-reference",
    ),
    Shape(
        "a token of Intuit's SDK",
        ("accesstoken", "xrefreshtokenexpiresin"),
        "https://github.com/intuit/oauth-jsclient",
    ),
    Shape("a token of Xero's SDK", ("accesstoken", "expiresatutc"), "https://github.com/XeroAPI/Xero-NetStandard"),
    Shape("a token of rclone or of Go's oauth2", ("accesstoken", "expiry"), "https://rclone.org/remote_setup/"),
    Shape(
        "a token with expires_at, as of requests-oauthlib, Authlib or simple-oauth2",
        ("accesstoken", "expiresat"),
        "https://requests-oauthlib.readthedocs.io/en/latest/oauth2_workflow.html",
    ),
)
