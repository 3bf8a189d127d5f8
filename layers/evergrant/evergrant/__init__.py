"""Evergrant keeps OAuth grants alive on AWS.

The pure core (:mod:`~evergrant.record.connection`, :mod:`~evergrant.oauth.token_set`, :mod:`~evergrant.profiles.model`,
:mod:`~evergrant.oauth.token_request`, :mod:`~evergrant.record.refresh_schedule`) decides; the protocols
(:mod:`~evergrant.rotation.refresh`,
:mod:`~evergrant.connect.authorization_flow`) act through ports; :mod:`evergrant.adapters.aws` and
:mod:`evergrant.adapters.http` are the ports' adapters.
"""

__version__ = "0.1.0"
