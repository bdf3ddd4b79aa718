"""Sixteen ways a provider fails in the middle of work, and what the client of the gateway gets to see.

``python -m bench.failover`` starts a gateway and loopback providers and prints a scorecard; ``--help`` says the rest.
The scenarios and their criteria are those of the public Failover Bench v0.1.
"""
