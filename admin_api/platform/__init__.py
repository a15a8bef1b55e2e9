"""The operator's routes. One router, guarded once."""
