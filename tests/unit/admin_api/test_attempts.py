from admin_api.session.attempts import OF_PAIR, QUIET_MS, LoginAttempts


def test_failures_cost_no_more_each_time() -> None:
    delays = [OF_PAIR.delay_ms(failures) for failures in range(OF_PAIR.free_failures + 12)]
    assert delays[: OF_PAIR.free_failures] == [0] * OF_PAIR.free_failures
    assert delays[OF_PAIR.free_failures :][:3] == [1000, 2000, 4000]
    assert delays[-1] == OF_PAIR.delay_ms_max


def test_failures_are_never_forgotten() -> None:
    attempts = LoginAttempts()
    for _ in range(OF_PAIR.free_failures):
        attempts.failed("boss", "home", 1000)
    assert attempts.wait_ms("boss", "home", 1000) == 1000
    assert attempts.wait_ms("boss", "home", 1000 + QUIET_MS) == 0
    attempts.succeeded("boss", "home")
    assert attempts.wait_ms("boss", "home", 1000) == 0
