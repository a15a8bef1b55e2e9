"""A tenant's administrators' routes. One router, guarded once."""
