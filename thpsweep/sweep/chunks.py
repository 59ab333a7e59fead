"""Decide which points go to which worker together: long enough to be worth a call, of one scene where possible."""

import collections
from collections.abc import Sequence

from thpsweep.model.simulate import estimate
from thpsweep.sweep.point import scene_id
from thpsweep.sweep.serial import Outcome, Task

TARGET_S = 0.5
"""What a call should take: a Ray call costs about a millisecond, and a progress bar wants news every second."""


class Chunks:
    """Hand out points scene by scene: what a worker keeps of a scene (its baseline) then serves all its policies."""

    def __init__(self, tasks: Sequence[Task], n_workers: int) -> None:
        self._n_workers = n_workers
        self._scenes: dict[str, collections.deque[Task]] = collections.defaultdict(collections.deque)
        self._work = {key: max(float(estimate(point)["work"]), 1.0) for key, point in tasks}
        for task in tasks:
            self._scenes[scene_id(task[1])].append(task)
        self._left = len(tasks)
        self._alone: collections.deque[Task] = collections.deque()
        self._measured_s = self._measured_work = 0.0
        self._scene_of: dict[int, str] = {}

    def __len__(self) -> int:
        return self._left + len(self._alone)

    def take(self, worker: int) -> list[Task]:
        """Give a worker its next points; nothing where none are left."""
        if self._alone:
            return [self._alone.popleft()]
        chunk: list[Task] = []
        # An even share of what is left bounds a chunk, so that the last ones end at about the same time.
        most = -(-self._left // (2 * self._n_workers))
        while self._left and len(chunk) < most and (not chunk or self._predicted_s(chunk) < TARGET_S):
            scene = self._scenes[self._scene_for(worker)]
            chunk.append(scene.popleft())
            self._left -= 1
        return chunk

    def measured(self, chunk: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
        """Learn from finished points what a unit of work takes."""
        self._measured_s += sum(outcome["wall_s"] for outcome in outcomes)
        self._measured_work += sum(self._work[key] for key, _ in chunk)

    def again(self, chunk: Sequence[Task]) -> None:
        """Take back points whose worker died; each goes out alone now, so that the next death names the guilty one."""
        self._alone.extend(chunk)

    def _predicted_s(self, chunk: Sequence[Task]) -> float:
        if not self._measured_work:
            return TARGET_S  # nothing measured yet: one point, to find out
        return sum(self._work[key] for key, _ in chunk) * self._measured_s / self._measured_work

    def _scene_for(self, worker: int) -> str:
        """Stay in the worker's scene while it lasts, then open one that nobody is in, then help in the longest."""
        self._scenes = {scene: tasks for scene, tasks in self._scenes.items() if tasks}
        if self._scene_of.get(worker) not in self._scenes:
            fresh = [scene for scene in self._scenes if scene not in self._scene_of.values()]
            longest = max(self._scenes, key=lambda scene: len(self._scenes[scene]))
            self._scene_of[worker] = fresh[0] if fresh else longest
        return self._scene_of[worker]
