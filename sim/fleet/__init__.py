"""Several replicas behind a router: what a fleet is made of, who serves a request, failures."""
