"""The checks of `cifake-tune doctor`: a machine, a cluster before an installation, and an installed release."""
