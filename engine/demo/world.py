"""What the demonstration needs to know of its provisioning file: who calls whom, over what, and who may look."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DemoFault(Exception):
    """The demonstration cannot be held; says why."""


@dataclass(frozen=True)
class Login:
    login: str
    password: str
    role: str


@dataclass(frozen=True)
class DemoWorld:
    """Numbers are as the file writes them."""

    username: str
    password: str
    x_number: str
    b_number: str
    trunk_host: str
    trunk_port: int
    logins: tuple[Login, ...]


def read_demo_world(path: Path) -> DemoWorld:
    """The first softphone, binding and trunk of a provisioning file, and all its logins. Raises DemoFault."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        account, binding, trunk = content["sip_accounts"][0], content["bindings"][0], content["trunks"][0]
        return DemoWorld(
            username=account["username"],
            password=account["password"],
            x_number=binding["x_number"],
            b_number=binding["b_number"],
            trunk_host=trunk["host"],
            trunk_port=trunk.get("port", 5060),
            logins=tuple(Login(user["login"], user["initial_password"], user["role"]) for user in content["users"]),
        )
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DemoFault(f"{path}: cannot be read: {error}") from error
    except (KeyError, IndexError) as error:
        raise DemoFault(f"{path}: a demonstration needs a softphone, a binding, a trunk and users in it") from error
