"""Run the command line as `python -m tuner.cli`, for machines without `cifake-tune` on the PATH."""

from tuner.cli.app import main

main()
