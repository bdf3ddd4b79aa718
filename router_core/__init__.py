"""The routing domain: pure decisions about which model answers a request."""
