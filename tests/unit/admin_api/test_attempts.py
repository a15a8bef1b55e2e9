from admin_api.session.attempts import ATTEMPTS_MAX, ENTRIES_MAX, WINDOW_MS, LoginAttempts


def test_the_wait_never_ends() -> None:
    attempts = LoginAttempts()
    assert [attempts.wait_ms("u", "1.1.1.1", 1000) for _ in range(ATTEMPTS_MAX)] == [0] * ATTEMPTS_MAX
    assert attempts.wait_ms("u", "1.1.1.1", 1001) == WINDOW_MS - 1
    # Attempts while it waits do not make it longer: nobody can lock another out for good.
    assert attempts.wait_ms("u", "1.1.1.1", 1000 + WINDOW_MS - 1) == 1
    assert attempts.wait_ms("u", "1.1.1.1", 1000 + WINDOW_MS) == 0


def test_one_address_locks_out_another() -> None:
    attempts = LoginAttempts()
    for _ in range(ATTEMPTS_MAX + 1):
        attempts.wait_ms("u", "1.1.1.1", 0)
    assert attempts.wait_ms("u", "2.2.2.2", 0) == 0
    assert attempts.wait_ms("v", "1.1.1.1", 0) == 0


def test_a_success_does_not_clear_the_count() -> None:
    attempts = LoginAttempts()
    for _ in range(ATTEMPTS_MAX - 1):
        attempts.wait_ms("u", "1.1.1.1", 0)
    attempts.forget("u", "1.1.1.1")
    attempts.forget("u", "1.1.1.1")
    assert all(attempts.wait_ms("u", "1.1.1.1", 0) == 0 for _ in range(ATTEMPTS_MAX))


def test_a_flood_of_names_fills_the_memory() -> None:
    attempts = LoginAttempts()
    for number in range(ENTRIES_MAX + 100):
        attempts.wait_ms(f"u{number}", "1.1.1.1", 0)
    assert len(attempts._windows) == ENTRIES_MAX
