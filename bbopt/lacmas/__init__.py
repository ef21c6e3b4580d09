"""LAC-MAS: swarms that agree on one optimum of the sum of what each can query alone."""
