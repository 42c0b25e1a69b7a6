"""When and where queued jobs start: placement on nodes, reservations, back-off, and the state of the queues."""
