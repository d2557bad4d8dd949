"""Digits: the project's classifier of them, a second one of another kind, and what tells copies."""
