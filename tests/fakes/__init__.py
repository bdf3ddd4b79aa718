"""Real loopback providers and sockets that misbehave, for tests and benches."""
