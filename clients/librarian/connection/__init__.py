"""Which site to talk to, and the channels to it."""
