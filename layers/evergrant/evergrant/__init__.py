"""Evergrant keeps OAuth grants alive on AWS.

Each sub-package is a room with one concern; ``tests/unit/test_rooms.py`` says what each may import. Decisions are pure:
:mod:`~evergrant.profiles` (a provider as data), :mod:`~evergrant.oauth` (requests and responses) and
:mod:`~evergrant.record` (the connection record and its state machine). The protocols :mod:`~evergrant.rotation`,
:mod:`~evergrant.connect` and :mod:`~evergrant.getter` act through :mod:`~evergrant.ports`, which
:mod:`~evergrant.adapters` implements.
"""

__version__ = "0.1.0"
