"""How fast and how faithful a model is on this machine: measured, and written to one JSON file."""
