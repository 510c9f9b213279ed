"""`python -m controlplane …` is the `flowgate` command."""

from controlplane.cli import main

if __name__ == "__main__":
    main()
