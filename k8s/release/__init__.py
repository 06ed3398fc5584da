"""An installed release of the chart: its objects, status, problems and logs."""
