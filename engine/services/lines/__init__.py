"""Carriers, lines, numbers and bindings: whose they are, and who may call over them."""
