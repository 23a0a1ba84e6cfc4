"""Settings of the trainer."""

from __future__ import annotations

from pathlib import Path

from loopline.runtime.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    """What the trainer is told beside what every service is."""

    asset_cache_bytes: int = 20 * 1024**3
    """Encoded images kept on disk, least recently used out first; also the largest training set."""
    decoded_bytes: int = 2 * 1024**3
    """Decoded images that a training keeps; beyond, images are decoded again each epoch."""
    checkpoint_upload_every_s: float = 10.0
    """Every checkpoint is on this machine's disk; so often one goes to storage, for others."""
    weights_dir: Path | None = None
    """Files that trainings may begin with (`initial_weights: file:NAME`); a folder of the trainer's
    own if not given."""
    silence_s: float = 900.0
    """A training process that says nothing for so long is ended."""
    training_niceness: int = 5
    """How much the training process gives way to the others on this machine, 0 to 19."""
    evaluation_threads: int = 1
    """Threads of the network while a model version is measured."""
    advertise_host: str = "127.0.0.1"
    """Where other machines reach this one while they share a training; a loopback address is for
    agents of one machine."""
    rendezvous_port: int = 0
    """Where those meet that share a training which this agent leads; 0 lets the system choose."""
    team_wait_s: float = 3600.0
    """How long a training waits for enough agents that are free, before it is given up."""
    abandoned_run_s: float = 7 * 86_400.0
    """Folders of unfinished runs are kept so long, to be resumed from."""
