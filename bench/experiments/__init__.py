"""How often an experiment looked at after every sample finds a winner: where there is none, and where one is."""
