from engine.domain.lines.call_limits import CallLimits, Limit

TRUNK = Limit("trunk", 1, calls_max=2, calls_per_second_max=0)
TENANT = Limit("tenant", 1, calls_max=0, calls_per_second_max=3)


def test_a_place_is_taken_and_given_back() -> None:
    limits = CallLimits()
    assert [limits.begin([TRUNK], 0.0) for _ in range(3)] == [None, None, "trunk"]
    limits.end([TRUNK.key])
    assert limits.begin([TRUNK], 0.0) is None


def test_calls_a_second_refill_with_time() -> None:
    limits = CallLimits()
    assert [limits.begin([TENANT], 0.0) for _ in range(4)] == [None, None, None, "tenant"]
    assert limits.begin([TENANT], 0.2) == "tenant"
    assert limits.begin([TENANT], 0.4) is None


def test_a_call_that_one_limit_refuses_counts_towards_none() -> None:
    limits = CallLimits()
    for _ in range(2):
        limits.begin([TRUNK], 0.0)
    assert limits.begin([TENANT, TRUNK], 0.0) == "trunk"
    assert limits.calls("tenant", 1) == 0
    assert [limits.begin([TENANT], 0.0) for _ in range(3)] == [None, None, None]


def test_zero_is_no_limit_and_nothing_is_kept_of_calls_that_are_over() -> None:
    limits = CallLimits()
    free = Limit("line", 1, 0, 0)
    assert all(limits.begin([free], 0.0) is None for _ in range(1000))
    for _ in range(1000):
        limits.end([free.key])
    assert len(limits) == 0
