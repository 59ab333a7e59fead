"""Run the command line: `python -m thpsweep`."""

from thpsweep.cli import main

if __name__ == "__main__":
    main()
