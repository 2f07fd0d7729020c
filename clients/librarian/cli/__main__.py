"""`python -m librarian.cli`, for where the program is not on the path."""

from librarian.cli import main

if __name__ == "__main__":
    main()
