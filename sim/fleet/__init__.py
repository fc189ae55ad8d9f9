"""Several replicas behind a router: what a fleet is made of, which replica serves a request, failures."""
