"""How the state of one job is presented: summary, attempts, recent metrics, and what helps after a failure."""
