"""What a search will take: the size of its space, its epochs, worker-hours, bytes and cost."""
