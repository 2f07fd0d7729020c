"""The processes that carry ingests out. Any number of them may run."""
