from admin_api.session.attempts import OF_ADDRESS, OF_LOGIN, OF_PAIR, Attempt
from engine.store.access.login_failures import QUIET_MS, subject_of


def test_failures_cost_no_more_each_time() -> None:
    delays = [OF_PAIR.delay_ms(failures) for failures in range(OF_PAIR.free_failures + 12)]
    assert delays[: OF_PAIR.free_failures] == [0] * OF_PAIR.free_failures
    assert delays[OF_PAIR.free_failures :][:3] == [1000, 2000, 4000]
    assert delays[-1] == OF_PAIR.delay_ms_max


def test_failures_are_never_forgotten() -> None:
    attempt = Attempt("boss", "home")
    stored = dict.fromkeys(attempt.counted, (OF_PAIR.free_failures, 1000))
    assert attempt.wait_ms(stored, 1000) == 1000
    assert attempt.wait_ms(stored, 1000 + QUIET_MS) == 0
    forgiven = {subject: failures for subject, failures in stored.items() if subject not in attempt.forgiven}
    assert attempt.wait_ms(forgiven, 1000) == 0
    assert Attempt("boss", "elsewhere").wait_ms(stored, 1000) == 0, "another address has failures of its own"


def test_somebody_is_kept_out_of_where_he_has_been() -> None:
    attempt = Attempt("boss", "home")
    stored = {subject_of("login", "boss"): (OF_LOGIN.free_failures, 1000)}
    assert attempt.wait_ms(stored, 1000) == 1000
    assert attempt.wait_ms(stored | {attempt.known: (0, 1)}, 1000) == 0


def _fail(stored: dict[str, tuple[int, int]], attempt: Attempt, now_ms: int) -> None:
    for subject in attempt.counted:
        stored[subject] = (stored.get(subject, (0, 0))[0] + 1, now_ms)


def test_a_login_is_guessed_from_everywhere() -> None:
    stored: dict[str, tuple[int, int]] = {Attempt("boss", "home").known: (0, 0)}
    for number in range(OF_LOGIN.free_failures + 10):
        _fail(stored, Attempt("boss", f"address {number}"), 1000)
    assert Attempt("boss", "one more").wait_ms(stored, 1000) == OF_LOGIN.delay_ms_max
    assert Attempt("boss", "home").wait_ms(stored, 1000) == 0, "and the boss is not kept out of where he always is"


def test_an_address_tries_one_login_after_the_other() -> None:
    stored: dict[str, tuple[int, int]] = {}
    for number in range(OF_ADDRESS.free_failures + 2):
        attempt = Attempt(f"login {number}", "bad")
        assert attempt.wait_ms(stored, 1000) in (0, 1000, 2000)
        _fail(stored, attempt, 1000)
    for subject in Attempt("login 1", "bad").forgiven:
        stored.pop(subject)
    assert Attempt("a new one", "bad").wait_ms(stored, 1000) == 4000
    assert Attempt("a new one", "good").wait_ms(stored, 1000) == 0
