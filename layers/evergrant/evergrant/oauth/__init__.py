"""Requests to a provider, and the meaning of its responses: RFC 6749, 7009, 7521, 7523, 7636 and OpenID Connect.

Pure. May import the base modules and ``profiles``.
"""
