"""What one bringing in line of MLflow did."""

import dataclasses


@dataclasses.dataclass
class Added:
    """What was done to MLflow, what was left in its trash, and what the user should know."""

    added: int = 0
    replaced: int = 0
    completed: int = 0
    doubled: int = 0
    relabelled: int = 0
    deleted: int = 0
    """Points whose run a user deleted."""
    notes: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        counts = (
            (self.replaced, "replaced"),
            (self.completed, "completed"),
            (self.doubled, "doubled ones put into the trash"),
            (self.relabelled, "tagged again"),
            (self.deleted, "deleted in MLflow, left in its trash"),
        )
        return "; ".join(
            [", ".join([f"{self.added} runs added", *(f"{n} {what}" for n, what in counts if n)]), *self.notes]
        )
