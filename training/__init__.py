"""The corpus the task classifier learns from, and the scripts that make its weights."""
