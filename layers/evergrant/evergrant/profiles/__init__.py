"""A provider as data: the profile model, its loader and checks, discovery, and the expiry rules.

May import the base modules only. ``catalogue/`` holds the profiles that ship, one TOML file each.
"""
