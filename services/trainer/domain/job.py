"""What the service tells the training process, and what that says back: one JSON document a line.

Both ends import this module, so that a message is written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.trainer.domain.examples import Example
from services.trainer.domain.manifest import InputFormat


class Message(BaseModel):
    """Base of every message."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# What the service says.


class Describe(Message):
    """Check the parameters of a recipe, and load what training needs meanwhile."""

    do: Literal["describe"] = "describe"
    recipe: str
    parameters: dict[str, Any]


class Place(Message):
    """The place of this machine among those that share a training; one alone has the first.

    Attributes:
        rank: Which one this is, from 0; the first writes checkpoints and has the result.
        members: (agent, host) of all, by rank; empty for one alone.
        team: Names this attempt.
        rendezvous: Where all meet: "10.0.0.5:29500", an address of the first; of port 0 where
            nobody else need know it.
        address: Where the others reach this one.
    """

    rank: int = 0
    members: tuple[tuple[str, str], ...] = ()
    team: str = "alone"
    rendezvous: str = "127.0.0.1:0"
    address: str = "127.0.0.1"

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return max(1, len(self.members))


ALONE = Place()


class Train(Message):
    """Train the described recipe.

    Attributes:
        dataset: For messages: "catalogue@v3".
        model: The model's name, for its report.
        classes: In the order of the outputs.
        examples_file: JSON lines of `Placed`.
        folder: Where results are written, and checkpoints; what lies there is resumed from.
        memory_bytes: How many decoded pixels may be kept in memory.
        initial_weights: The file that training begins with, where the parameters name one.
        place: This machine's among those that share the training.
    """

    do: Literal["train"] = "train"
    dataset: str
    model: str = ""
    classes: tuple[str, ...]
    examples_file: Path
    folder: Path
    memory_bytes: int = 2 * 1024**3
    initial_weights: Path | None = None
    place: Place = ALONE

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"


class Stop(Message):
    """Stop the training; a checkpoint of that moment is to be left."""

    do: Literal["stop"] = "stop"


AnyCommand = Describe | Train | Stop
Command = TypeAdapter[AnyCommand](Annotated[AnyCommand, Field(discriminator="do")])


@dataclass(frozen=True, slots=True)
class Placed:
    """An example and the file with its encoded image."""

    example: Example
    path: Path


PLACED = TypeAdapter(Placed)


# What the training process says.


class Described(Message):
    """The recipe is there and its parameters are right.

    Attributes:
        parameters: Complete, as JSON, but for those that change nothing of what is made.
        task: "classification", ...
        code_digest: Of all source that the weights depend on.
    """

    event: Literal["described"] = "described"
    parameters: dict[str, Any]
    task: str
    code_digest: str


class Progress(Message):
    """Where training is.

    Attributes:
        step: Steps done, over all epochs.
        epoch: Epochs done.
        loss: Mean of the current epoch so far.
        metrics: On the validation split, where an epoch has just ended.
    """

    event: Literal["progress"] = "progress"
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    metrics: dict[str, float] = {}
    images_per_s: float = 0.0
    eta_s: float = 0.0
    learning_rate: float = 0.0


class CheckpointSaved(Message):
    """A checkpoint is on disk, whole; its file's name says which."""

    event: Literal["checkpoint"] = "checkpoint"
    path: Path


class Stopped(Message):
    """The training stopped because it was told to."""

    event: Literal["stopped"] = "stopped"
    step: int


class Reports(Message):
    """The files of an evaluation that are no part of the model version: they hold its speed."""

    evaluation: Path
    outcomes: Path
    page: Path


class Trained(Message):
    """All is done; the files are in the job's folder.

    Attributes:
        files: Paths of the model version's files, named as they are to be called.
        weights_digest: sha256 over the tensors of the weights.
        metrics: On the test split.
        headline: The name of the first of them.
        reports: Of the evaluation on the test split.
        count: Images of the test split that were judged.
        figures: What is worth keeping of the run itself: seconds, images_per_s, parity, ...
        members: (agent, host) of all that shared the training, by rank; empty for one alone.
    """

    event: Literal["trained"] = "trained"
    files: tuple[Path, ...]
    weights_digest: str
    input_format: InputFormat
    metrics: dict[str, float]
    headline: str
    reports: Reports
    count: int
    figures: dict[str, float]
    device: str
    members: tuple[tuple[str, str], ...] = ()


class Followed(Message):
    """This machine's part of a training is done; the first one has the result."""

    event: Literal["followed"] = "followed"


class Failed(Message):
    """It ends here.

    Attributes:
        kind: What sort of end: the input is wrong, memory ran out, images could not be made into a
            batch, the program broke, one of several processes was killed, or another one that
            shares the training does not answer.
        reason: One sentence for people.
    """

    event: Literal["failed"] = "failed"
    kind: Literal[
        "rejected", "out_of_memory", "loader", "crashed", "disk_full", "killed", "separated"
    ]
    reason: str


Report = Described | Progress | CheckpointSaved | Stopped | Trained | Followed | Failed
REPORT = TypeAdapter[Report](Annotated[Report, Field(discriminator="event")])
