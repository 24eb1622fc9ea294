"""The operations, one function each, by the resource or the service that they are of."""
