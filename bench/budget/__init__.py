"""One budget, several worker processes, many clients: what of it could be spent, and that no more was."""
