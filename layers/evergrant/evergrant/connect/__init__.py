"""Connecting an account: links, callback, code exchange, account binding, import, pages, operator actions.

Takes its ports as arguments. May import ``rotation`` and what that may import.
"""
