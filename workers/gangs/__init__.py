"""Jobs over several nodes: the attempts of their members, the network between these, the check of a node, stacks."""
