"""Federated learning: sites train one model together, and only recorded updates leave a site. Needs the extra
`federation`; the specs, the ledger and the credentials are light to import."""
