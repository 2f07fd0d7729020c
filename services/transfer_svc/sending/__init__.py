"""Sending datasets where routes say: planner, transfers, batches and the talk with the receiver."""
