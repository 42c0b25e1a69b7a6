"""MLflow's filter language and orders: text -> comparisons (pure), comparisons -> SQL for both databases."""
