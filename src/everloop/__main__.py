"""`python -m everloop` is `everloop`."""

from everloop.app.cli import main

if __name__ == "__main__":
    main()
