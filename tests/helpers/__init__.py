"""What several test modules share. No test module imports another; fixtures for all of them are in conftest.py."""
