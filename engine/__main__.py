"""``python -m engine``: how the supervisor starts every process."""

import gc

# 160,000 objects, which all stay: looking for garbage among them took a sixth of the time that an engine starts in.
gc.disable()

from engine.cli import main  # noqa: E402

gc.freeze()
gc.enable()

main()
