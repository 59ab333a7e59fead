"""Decide which points go to which worker together: long enough to be worth a call, of one affinity group where possible."""

import collections
from collections.abc import Sequence

from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.planning.batches import affinity_id, seed_of

TARGET_S = 0.5
"""What a call should take: a Ray call costs about a millisecond, and a progress bar wants news every second."""

MAX_POINTS = 200
"""However cheap they are: the driver holds all results of a call at once, about 50 KB each."""

Chunk = list[Task]


class TimeEstimate:
    """Predict what points take from what others took, in proportion to the work that the model expects of them."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._work: dict[str, float] = {}
        self._measured_s = self._measured_work = self.left_work = 0.0
        self.add(tasks)

    def add(self, tasks: Sequence[Task]) -> None:
        """Expect these points, too."""
        new = {key: max(point["work"], 1.0) for key, point in tasks}
        self._work |= new
        self.left_work += sum(new.values())

    @property
    def mean_work(self) -> float:
        """Give the work of a point, as they were so far."""
        return sum(self._work.values()) / max(len(self._work), 1)

    def work(self, key: str) -> float:
        """Give the work of a point, in units of the model's own."""
        return self._work[key]

    def measured(self, key: str, wall_s: float) -> None:
        """Learn from a point that ended."""
        self._measured_s += wall_s
        self._measured_work += self._work[key]
        self.left_work -= self._work[key]

    def predicted_s(self, work: float) -> float | None:
        """Say what so much work takes; None as long as nothing is measured."""
        return work * self._measured_s / self._measured_work if self._measured_work else None


class Chunks:
    """Hand out points group by group: what a worker keeps of a scene (its baseline) then serves all its policies, and
    scenes that run side by side come to one worker."""

    def __init__(self, tasks: Sequence[Task], n_workers: int) -> None:
        self.pace = TimeEstimate([])
        self.n_workers = n_workers
        self._untouched: collections.OrderedDict[str, collections.deque[Task]] = collections.OrderedDict()
        self._group_of: dict[int, collections.deque[Task]] = {}
        self._first: collections.deque[Chunk] = collections.deque()
        self._left = 0
        self.add(tasks)

    def __len__(self) -> int:
        return self._left + sum(map(len, self._first))

    def add(self, tasks: Sequence[Task]) -> None:
        """Take points that have not been out yet."""
        self.pace.add(tasks)
        for task in tasks:
            self._untouched.setdefault(affinity_id(task[1]), collections.deque()).append(task)
        self._left += len(tasks)

    def take(self, worker: int) -> Chunk:
        """Give a worker its next points; nothing where none are left."""
        if self._first:
            return self._first.popleft()
        # An even share of what is left bounds a chunk, so that the last ones end at about the same time.
        most = min(-(-self._left // (2 * self.n_workers)), MAX_POINTS)
        chunk: Chunk = []
        work = 0.0
        while len(chunk) < most and (not chunk or self._has_time(work)):
            chunk.append(self._group_for(worker).popleft())
            self._left -= 1
            work += self.pace.work(chunk[-1][0])
        return chunk

    def again(self, *chunks: Chunk) -> None:
        """Take back points that came to nothing; they go out next, in the affinity group that the caller has chosen."""
        self._first.extend(chunk for chunk in chunks if chunk)

    def _has_time(self, work: float) -> bool:
        predicted_s = self.pace.predicted_s(work)
        return predicted_s is not None and predicted_s < TARGET_S  # nothing measured yet: one point, to find out

    def _group_for(self, worker: int) -> collections.deque[Task]:
        """Stay in the worker's affinity group while it lasts, then open one that nobody is in, then help in the longest."""
        if not self._group_of.get(worker):
            helped = max(self._group_of.values(), key=len, default=collections.deque[Task]())
            self._group_of[worker] = self._opened() if self._untouched else helped
        return self._group_of[worker]

    def _opened(self) -> collections.deque[Task]:
        """Take an affinity group scene by scene, so that its points may be cut anywhere into chunks."""
        _, tasks = self._untouched.popitem(last=False)
        return collections.deque(sorted(tasks, key=lambda task: seed_of(task[1])))
