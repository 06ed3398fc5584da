"""What an evaluation found, and how it is shown: statistics, files, figures, the terminal."""
