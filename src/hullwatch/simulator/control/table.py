"""The table of all control calls: routes, page and OpenAPI document are made from it."""

from hullwatch.simulator.control import accounts, faults, market, time
from hullwatch.simulator.control.call import ControlCall

CALLS: tuple[ControlCall, ...] = (*accounts.CALLS, *faults.CALLS, *market.CALLS, *time.CALLS)
