"""``python -m admin_api``; with ``--spare`` it waits until it is needed (ADR 16)."""

import sys

from admin_api.main import main, main_when_needed
from engine.push.broker import BrokerUnusable
from engine.runtime.processes.spare import SPARE_OPTION
from engine.settings import SettingsError
from engine.store.access.secret_file import SecretUnusable

try:
    if SPARE_OPTION in sys.argv[1:]:
        main_when_needed()
    else:
        main()
except (SettingsError, SecretUnusable, BrokerUnusable) as error:
    sys.exit(f"axbridge: {error}")
