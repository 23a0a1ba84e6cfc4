"""What the trainer reaches for: the training process, the image cache, checkpoints in storage."""
