"""One file a system of the course: its networks, its training objective, how to generate with it."""
