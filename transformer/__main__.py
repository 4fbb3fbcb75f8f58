"""`python -m transformer` is the console script."""

from transformer.cli import main

if __name__ == "__main__":
    main()
