"""`python -m onepixel` does what the command `onepixel` does."""

from onepixel.cli import main

if __name__ == "__main__":
    main()
