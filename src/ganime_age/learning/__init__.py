"""What trains and measures. Imported by training/ and the tests alone."""
