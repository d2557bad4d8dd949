"""Metrics of digits: the project's classifier, a second classifier of another kind, and copy detection."""
