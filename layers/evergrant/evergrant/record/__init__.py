"""The connection record and its state machine: what each step changes, as values.

Pure: ``now`` is an argument. May import the base modules, ``profiles`` and ``oauth``.
"""
