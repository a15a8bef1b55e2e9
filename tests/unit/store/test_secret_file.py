from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.store.access.secret_file import SECRET_OCTETS, SecretUnusable, derived_key, read_secret


def test_a_secret_changes_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    secret = read_secret(path)
    assert len(secret) == SECRET_OCTETS
    assert read_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]


def test_processes_that_start_together_make_two_secrets(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(read_secret, [tmp_path / "secret.key"] * 64))) == 1


def test_others_may_read_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    read_secret(path)
    path.chmod(0o640)
    with pytest.raises(SecretUnusable, match="chmod"):
        read_secret(path)


def test_a_secret_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.touch(0o600)
    with pytest.raises(SecretUnusable, match="shorter"):
        read_secret(path)


def test_one_purpose_opens_another() -> None:
    keys = {
        derived_key(b"s" * 32, "api token"),
        derived_key(b"s" * 32, "recording link"),
        derived_key(b"t" * 32, "api token"),
    }
    assert len(keys) == 3
