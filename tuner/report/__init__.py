"""Presentation of searches and evaluations: report.html, figures, the model card, tables in a terminal."""
