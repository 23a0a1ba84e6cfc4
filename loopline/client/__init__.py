"""The SDK: the platform from a program."""
