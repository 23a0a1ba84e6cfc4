"""Pure decisions of the trainer: what is trained on, how it is judged, what a model version is."""
