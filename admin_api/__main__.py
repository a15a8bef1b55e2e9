"""``python -m admin_api``."""

import sys

from admin_api.main import main
from engine.push.broker import BrokerUnusable
from engine.settings import SettingsError
from engine.store.secret_file import SecretUnusable

try:
    main()
except (SettingsError, SecretUnusable, BrokerUnusable) as error:
    sys.exit(f"axbridge: {error}")
