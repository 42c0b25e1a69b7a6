"""One engine function in several processes, over one node or several: started by torchrun, joined by its store."""
