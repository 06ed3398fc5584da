"""The live page, which shows a study in a browser while its chief runs."""
