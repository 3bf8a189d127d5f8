"""`make torture`: the deployed stack under kill -9, failing services and lying networks, and what it cost."""
