"""The flows of Restate: each is a handler of a service, and each step a durable one."""

import restate
import work

flows = restate.Service("flows")


@flows.handler()
async def empty(_context: restate.Context) -> None:
    """Do nothing."""
    work.mark("empty")


@flows.handler()
async def light(context: restate.Context) -> None:
    """Run many steps that take no time, one after another."""
    for number in work.LIGHT:
        await context.run_typed("fibo", work.fibo, number=number)


@flows.handler()
async def heavy(context: restate.Context) -> None:
    """Run a few steps that take a while, one after another."""
    for number in work.HEAVY:
        await context.run_typed("fibo", work.fibo, number=number)


@flows.handler()
async def long(context: restate.Context) -> None:
    """Work for long enough to be killed."""
    for step in range(work.LONG_STEPS):
        await context.run_typed("long-step", work.long_step, step=step)


app = restate.app([flows])
