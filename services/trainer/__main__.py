"""`python -m services.trainer`."""

from loopline.runtime.service import run
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings

if __name__ == "__main__":
    run(Trainer, TrainerSettings)
