"""The one place where an engine is put together: of its parts, in the order in which ``engine`` makes them."""

from engine.main.engine import run_engine

__all__ = ["run_engine"]
