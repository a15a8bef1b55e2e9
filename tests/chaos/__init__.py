"""A whole system under load, in which one thing after the other is killed, stopped or filled: ``scripts/chaos``."""
