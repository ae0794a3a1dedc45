"""The legacy processor: the existing campaign system, as its clients and the router in front of it know it."""
