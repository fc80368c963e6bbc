"""Controllers: loops that bring the cluster from what is to what was asked for. They reach it by its API only."""
