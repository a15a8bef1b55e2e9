"""What becomes of recordings once they are closed: filed, carried to the storage, kept, verified and deleted."""
