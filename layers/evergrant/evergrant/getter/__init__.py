"""Reads tokens for getter. Imports as little as possible: a caller waits for its cold start.

May import the base modules only.
"""
