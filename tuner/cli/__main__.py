"""`python -m tuner.cli`, where there is no `cifake-tune` on the PATH."""

from tuner.cli.app import main

main()
