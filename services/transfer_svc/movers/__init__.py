"""Ways to move the bytes of a batch. One Protocol, one file a mover, one conformance suite for all."""
