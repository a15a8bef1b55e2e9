"""A tenant's departments and agents, from their first day to their last."""
