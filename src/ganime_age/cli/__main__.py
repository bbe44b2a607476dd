"""`python -m ganime_age.cli` is `ganime-age`."""

from .main import run

if __name__ == "__main__":
    run()
