"""What happens to a pod once it is stored: it is placed, runs, and ends."""
