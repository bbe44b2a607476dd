"""The command line, `ganime-age COMMAND`."""
