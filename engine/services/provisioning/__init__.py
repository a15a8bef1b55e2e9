"""Declarative provisioning: what a file says there is to be, made so; loading it again changes nothing."""

from engine.services.provisioning.loading import load
from engine.services.provisioning.rows import Summary

__all__ = ["Summary", "load"]
