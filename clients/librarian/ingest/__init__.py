"""Bringing new datasets in: measure, begin, stage by the best way there is, commit, wait."""
