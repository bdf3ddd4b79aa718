"""Whether the gateway stays flat: memory, sockets, threads and tasks over many requests and streams."""
