"""``kvraft alarm``: list and disarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.answers import show
from kvraft.cli.failures import bad_arguments
from kvraft.types import AlarmAction, AlarmRequest, AlarmResponse, AlarmType

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client


async def list_alarms(call: Call, client: Client) -> None:
    """What is wrong with members."""
    if call.arguments:
        raise bad_arguments("alarm list command accepts no arguments")
    await _show(call, client, await client.repeatable(AlarmRequest(AlarmAction.GET), AlarmResponse))


async def disarm(call: Call, client: Client) -> None:
    """Clear every alarm."""
    if call.arguments:
        raise bad_arguments("alarm disarm command accepts no arguments")
    await _show(call, client, await client.repeatable(AlarmRequest(AlarmAction.DEACTIVATE), AlarmResponse))


async def _show(call: Call, client: Client, answer: AlarmResponse) -> None:
    lines = (f"memberID:{alarm.member_id} alarm:{AlarmType(alarm.alarm).name} " for alarm in answer.alarms)
    await show(call, client, answer, *lines)
