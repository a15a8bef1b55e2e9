from tests.api.conftest import World


async def test_a_statement_is_a_table_or_a_document_as_asked(world: World) -> None:
    for who, path in (("tenant1", "/api/tenant"), ("platform", "/api/platform/tenants/1")):
        table = await world.ask(who, "GET", f"{path}/statements/2027-01")
        assert (table.status_code, table.content[:14]) == (200, b"transaction_id")
        document = await world.ask(who, "GET", f"{path}/statements/2027-01", params={"format": "pdf"})
        assert (document.headers["content-type"], document.content[:5]) == ("application/pdf", b"%PDF-")
        assert (await world.ask(who, "GET", f"{path}/statements/2027-01", params={"format": "doc"})).status_code == 400
