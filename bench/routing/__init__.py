"""Measures routing quality on recorded outcomes; nothing of the recordings stands in this repository."""
