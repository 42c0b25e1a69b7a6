"""The page of a quantize job: what each form of a model costs and brings, and which one to ship."""
