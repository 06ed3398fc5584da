"""The evaluation as metrics of the chief: the evaluator itself ends too soon to be scraped."""
