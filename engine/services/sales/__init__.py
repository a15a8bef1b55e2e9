"""Packages, and the orders by which they are bought, returned and passed on."""
