"""One target under libFuzzer: `package.module:function`, then libFuzzer's own arguments."""

from __future__ import annotations

import sys
from importlib import import_module

import atheris


def main() -> None:
    module, _, function = sys.argv.pop(1).partition(":")
    # What is instrumented must be imported under it, and only that: the rest would only take time.
    with atheris.instrument_imports(include=["sip", "media", "tests.fuzz"]):
        target = getattr(import_module(module), function)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
