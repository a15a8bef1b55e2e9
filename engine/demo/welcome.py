"""What a person wants to see after the first start."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.text import Text

from engine.demo.call import AGENT, CUSTOMER, DemoResult
from engine.demo.phone import Ladder
from engine.demo.world import DemoWorld
from engine.domain.money.charging import MICRO_PER_YUAN
from engine.settings import Settings

_ARROW_CELLS = 22


def show_addresses(console: Console, settings: Settings, world: DemoWorld | None) -> None:
    """Where everything is, and with which demo logins."""
    base = f"http://{settings.api.host}:{settings.api.port}"
    table = _Rows(console)
    table.add_row("API", f"{base}/schema  (OpenAPI: {base}/schema/openapi.json)")
    table.add_row("SIP", f"{settings.sip.host}:{settings.sip.port} UDP, realm {settings.sip.realm}")
    table.add_row("Data", f"{settings.data.absolute()}  (logs in log/, recordings in recordings/)")
    if world is not None:
        for login in world.logins:
            table.add_row("Login", f"{login.login} / {login.password}  ({login.role})")
        table.add_row("Softphone", f"{world.username} / {world.password}, then dial {world.x_number}")


def show_demo_call(console: Console, settings: Settings, result: DemoResult) -> None:
    console.print("\n[bold]A demo call[/bold]: the agent's softphone dialled X, the customer's phone rang and saw X.\n")
    console.print(ladder_picture(result.ladder))
    console.print()
    _show_books(_Rows(console), settings, result)


def ladder_picture(ladder: Ladder) -> RenderableType:
    """agent | axbridge | customer, a line for each message."""
    lines: list[Text] = [
        Text(f"{'':>8}  {'agent':<{_ARROW_CELLS + 2}}{'axbridge':<{_ARROW_CELLS + 4}}customer", "bold")
    ]
    steps = sorted(ladder.steps, key=lambda step: step.at)
    start = steps[0].at if steps else 0.0
    for step in steps:
        rightwards = (step.phone == AGENT) == step.sent
        label = f" {step.text} ".center(_ARROW_CELLS - 1, "─")
        arrow = f"{label}▶" if rightwards else f"◀{label}"
        lane = "" if step.phone == AGENT else " " * (_ARROW_CELLS + 3)
        lines.append(Text(f"{step.at - start:7.3f}s  {lane}{arrow}", "cyan" if step.phone == CUSTOMER else "green"))
    return Group(*lines)


class _Rows:
    """A label and its text a line; never cut off, since paths and hashes are there to be copied."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def add_row(self, label: str, text: str) -> None:
        self._console.print(Text(f"{label:<12}", "bold"), Text(text), sep="", soft_wrap=True)


def _show_books(table: _Rows, settings: Settings, result: DemoResult) -> None:
    cdr, recording = result.cdr, result.recording
    table.add_row("CDR", f"{cdr['id']}  {cdr['state']}, {cdr['cause']}, hung up by {cdr['release_side']}")
    table.add_row("A → X → B", f"{cdr['a_number']} → {cdr['x_number']} → {cdr['b_number']}")
    table.add_row("Shown to B", f"{result.shown_to_customer}  (the middle number, never A's)")
    talk_ms = (cdr["ended_at_ms"] or 0) - (cdr["answered_at_ms"] or 0)
    answered = datetime.fromtimestamp((cdr["answered_at_ms"] or 0) / 1000, UTC)
    table.add_row("Answered", f"{answered:%Y-%m-%d %H:%M:%S} UTC, talked {talk_ms / 1000:.1f} s")
    table.add_row("Charge", f"¥{cdr['charge_micro'] / MICRO_PER_YUAN:.2f} for {cdr['billed_seconds']} s")
    heard = f"agent {result.heard_by_agent_packets}, customer {result.heard_by_customer_packets} packets heard"
    table.add_row("Speech", heard)
    path = next(settings.recordings_folder.absolute().rglob(f"{cdr['id']}.wav"), None)
    table.add_row("Recording", f"{path}  ({recording['duration_ms'] / 1000:.1f} s, agent left, customer right)")
    table.add_row("SHA-256", recording["sha256"])
