"""``python -m admin_api``."""

from admin_api.main import main

main()
