"""`python -m crossnet`."""

from crossnet.cli import main

if __name__ == "__main__":
    main()
