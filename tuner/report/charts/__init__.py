"""The charts of report.html, drawn as SVG."""
