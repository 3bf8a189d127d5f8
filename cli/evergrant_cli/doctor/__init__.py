"""``evergrant doctor``: what only an account can tell about a deployed stack. One function for each check."""
