"""Studies as jobs on a Ray cluster: its head, the queue, the driver of a study."""
