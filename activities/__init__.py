"""What workflows may do to the world: methods of a class for each concept, with its ports in the constructor."""
