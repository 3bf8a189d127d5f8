"""Adapters to AWS. They hold no decisions: each is one service spoken to in the way the protocols need."""
