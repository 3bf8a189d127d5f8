"""The rotation protocol: prepare, attempt, save, publish; circuit breaker, revocation and the tick.

Takes its ports as arguments. May import ``record``, ``oauth``, ``profiles``, ``ports`` and the base modules.
"""
