"""MLflow's searches: a filter, orders and a page token in, rows in order and the next token out. By keyset, in SQL."""
