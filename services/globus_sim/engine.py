"""Which tasks are carried out when: three of an owner at a time, the oldest first."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from globus_sim.carrying import Carrier, Pace, end
from globus_sim.model import FAILED, Task
from globus_sim.world import World

ACTIVE_AT_ONCE = 3
_LOOK_SECONDS = 0.5


class Engine:
    def __init__(self, world: World, pace: Pace) -> None:
        self._world = world
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="copy")
        self._carrier = Carrier(world, pace, self._threads)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something may be due: a task came, was cancelled, or time went by."""
        self._woken.set()

    async def cancel(self, task: Task) -> None:
        """It stops at its next step; one that waits ends at once."""
        task.asked_to_stop = True
        if task.task_id not in self._running:
            end(task, FAILED, "CANCELED", "canceled", now=self._world.clock.now())
        await self._world.save(task)
        self.wake()

    async def run(self) -> None:
        try:
            while True:
                self._woken.clear()
                for task in self._due():
                    self._running[task.task_id] = asyncio.create_task(self._carry(task))
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            for running in self._running.values():
                running.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            self._threads.shutdown()

    def _due(self) -> list[Task]:
        waiting = [task for task in self._world.tasks.values() if not task.is_over]
        busy: dict[str, int] = {}
        for task in waiting:
            if task.task_id in self._running:
                busy[task.owner] = busy.get(task.owner, 0) + 1
        due = []
        for task in sorted(waiting, key=lambda each: (each.request_time, each.task_id)):
            if task.task_id not in self._running and busy.get(task.owner, 0) < ACTIVE_AT_ONCE:
                busy[task.owner] = busy.get(task.owner, 0) + 1
                due.append(task)
        return due

    async def _carry(self, task: Task) -> None:
        try:
            await self._carrier.carry(task)
        finally:
            self._running.pop(task.task_id, None)
            self.wake()
