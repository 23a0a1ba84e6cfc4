"""In-memory twins and real servers for the tests of services and of their users."""
