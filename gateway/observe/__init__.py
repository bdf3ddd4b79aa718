"""Statistics, metrics, logs, traces, anomalies: one frozen record per request feeds them all."""
