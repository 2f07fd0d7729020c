"""Measurements beside their limits: `python -m tests.bench [--only substring]`."""
