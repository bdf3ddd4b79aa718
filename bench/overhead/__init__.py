"""What the gateway costs: CPU per request and per stream, added time, against calling the library bare."""
