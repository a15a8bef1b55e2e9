"""An agent's own routes. One router, guarded once."""
