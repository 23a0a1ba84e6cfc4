"""`loopline demo`: the whole flywheel on real images."""
