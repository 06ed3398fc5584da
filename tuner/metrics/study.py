"""A study's state as metrics, read off at each scrape: they come from the journal, so they outlive a chief."""
