"""Delivery: the activity that sends, from candidates to outcomes."""

from activities.delivery.ports import DeliveryPorts
from activities.delivery.round import DeliveryActivities

__all__ = ["DeliveryActivities", "DeliveryPorts"]
