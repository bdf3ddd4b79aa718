"""What the state stores cost: one exchange, one lease, and what an outage adds to everything else on the event loop."""
