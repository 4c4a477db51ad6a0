"""What is told to Prometheus, through node_exporter's textfile collector.

`exposition` writes the format, `families` makes metrics of what is known (both pure), `counting` keeps what only this process sees,
`textfile` writes the file (an edge).  packaging/prometheus has alert rules and a dashboard for them.
"""
