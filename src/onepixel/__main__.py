"""`python -m onepixel` does what the command `onepixel` does."""

from onepixel.cli import run

if __name__ == "__main__":
    run()
