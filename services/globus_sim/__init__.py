"""A stand-in for Globus Auth and Transfer on one machine, for whoever tests against them.

It speaks to the real globus-sdk over HTTP, moves real bytes between directories that stand for collections,
keeps its state on disk, and misbehaves as it is told: see docs/globus-sim.md.
"""
