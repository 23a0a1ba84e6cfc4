"""The command line: `loopline ...`."""
