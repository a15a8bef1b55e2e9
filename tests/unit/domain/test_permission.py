import pytest

from engine.domain.people.permission import ALWAYS, EVERYTHING, HOLDERS, Audience, Permission, at_most, granted


def test_a_permission_is_nobodys() -> None:
    assert set(HOLDERS) == set(Permission)
    assert all(HOLDERS.values())


def test_an_audience_is_granted_what_it_may_not_have() -> None:
    for audience in Audience:
        assert granted(audience, [permission.value for permission in Permission]) == at_most(audience)
        assert granted(audience, [EVERYTHING]) == at_most(audience)


def test_a_tenants_role_reaches_the_platforms() -> None:
    names = [Permission.TENANTS_WRITE, Permission.ORDERS_APPROVE, Permission.AGENTS_READ]
    assert granted(Audience.TENANT_ADMIN, names) == {Permission.AGENTS_READ} | ALWAYS


@pytest.mark.parametrize("names", [[], ["unheard.of"], ["AGENTS.READ"]])
def test_a_name_that_is_not_known_grants_something(names: list[str]) -> None:
    assert granted(Audience.TENANT_ADMIN, names) == ALWAYS
