"""The list of runs as a workspace: charts of the selected runs, nested runs, and names of data and models."""
