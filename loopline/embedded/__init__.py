"""The whole platform on one machine, without containers.

`Platform` starts nats-server, SeaweedFS and the services as child processes of one supervisor. Past
one machine the same services run against a NATS cluster and any S3: nothing outside this package
knows whether it was started here.
"""
