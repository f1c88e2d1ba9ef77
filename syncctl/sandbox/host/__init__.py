"""A sandbox in this process or in one of its own, its kubeconfig, and the fates that a person deals out."""
