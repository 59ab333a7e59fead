"""What the driver gives to a launcher: the points that are left, and those that a search adds when it knows more."""

from collections.abc import Sequence

from thpsweep.sweep.local.launcher import Arrival, Task, TaskSource
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.planning.search import Search
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.point import PlannedPoint
from thpsweep.sweep.records.schema import Record
from thpsweep.sweep.records.writer import Journal


class GridTasks(TaskSource):
    """The points of a grid that are left; none come later."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = list(tasks)
        self.n_ended = 0

    @property
    def total(self) -> int:
        """Count the points of this run, about."""
        return len(self.tasks)

    @property
    def is_over(self) -> bool:
        """Tell whether all have ended."""
        return self.n_ended >= len(self.tasks)

    def take(self, arrival: Arrival) -> None:
        """Count what came in, when it is in the journal."""
        self.n_ended += len(arrival)


class SearchTasks(GridTasks):
    """The points that a search proposes: in the journal before anybody runs them, each once.

    What the journal holds is told to the search first, in its order, so that it goes on as if it had never stopped.
    """

    def __init__(self, search: Search, log: Journal, recorded: journal.Sweep) -> None:
        super().__init__([])
        self._log, self._course = log, search.begin()
        self._known: dict[str, None] = {}
        self._next_index = 0
        self.is_concluded = recorded.concluded
        self._replay(recorded)
        left = [key for key in self._known if key not in recorded.done]
        self.tasks = [(key, check(recorded.points[key]["point"])) for key in left]
        self._n_given = len(self.tasks)
        self.tasks = self.tasks or self.more(1)  # what is still out is waited for, as it was before the stop

    @property
    def total(self) -> int:
        """Count the points that were given, and predict those to come."""
        return self._n_given + self.ahead()[0]

    @property
    def is_over(self) -> bool:
        """Tell whether all that were given have ended, and none is to come."""
        return self.n_ended >= self._n_given and self._course.is_over()

    def take(self, arrival: Arrival) -> None:
        """Let the search know what came in."""
        super().take(arrival)
        for key, outcome in arrival:
            self._course.learn(key, outcome["state"], outcome["result"])

    def more(self, n_idle: int) -> list[Task]:
        """Journal what the search proposes next; what is known already is told to it, and it is asked again."""
        new: list[PlannedPoint] = []
        while not new and (proposals := self._course.propose(n_idle)):
            records: list[Record] = []
            for proposal in proposals:
                key = proposal.point.id
                if key not in self._known:
                    self._known[key] = None
                    new.append(proposal.point)
                    records.append(proposal.point.record(self._next_index, proposal.note))
                    self._next_index += 1
                else:
                    records.append({"type": "proposal", "id": key, "search": dict(proposal.note)})
            self._log.append(*records)
            self.is_concluded = False
        self._n_given += len(new)
        return [(point.id, point.checked) for point in new]

    def ahead(self) -> tuple[int, int]:
        """Ask the search."""
        return self._course.ahead()

    def _replay(self, recorded: journal.Sweep) -> None:
        for _, record in journal.records(recorded.directory / journal.FILE_NAME):
            if record["type"] in ("point", "proposal"):
                self._known[record["id"]] = None
                self._next_index = max(self._next_index, record.get("index", -1) + 1)
                self._course.proposed(record["id"], record["search"])
            elif record["type"] == "result":
                self._course.learn(record["id"], record["state"], record["result"])


def make_source(plan: Plan, log: Journal, recorded: journal.Sweep) -> GridTasks:
    """Give what is left of a plan whose journal holds `recorded`."""
    if plan.search is not None:
        return SearchTasks(plan.search, log, recorded)
    return GridTasks([(point.id, point.checked) for point in plan.points if point.id not in recorded.done])
