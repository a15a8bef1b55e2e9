"""What every audience's routes share: who is asking, what goes wrong, and paging."""
