"""What is sent to a provider and what its responses mean: RFC 6749, 7009, 7521, 7523, 7636 and OpenID Connect.

Pure. May import the base modules and ``profiles``.
"""
