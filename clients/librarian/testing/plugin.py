"""Registered with pytest; imports almost nothing until a fixture is asked for."""
